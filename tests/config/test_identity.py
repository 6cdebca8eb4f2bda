"""Two configurations are equal if they mean the same, and the names of what differs hold no value."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from bson.codec_options import TypeRegistry
from bson.son import SON
from pymongo.monitoring import ServerListener
from pymongo.server_api import ServerApi

from async_mongo_pool.config import ClientSettings, PoolConfig, resolve
from async_mongo_pool.config.identity import freeze

pytestmark = pytest.mark.core

LISTENER = ServerListener()
CALLABLE = print


def of(connection: Any = "mongodb://h", preset: Any = None, /, **options: Any) -> ClientSettings:
    return resolve(connection, options, preset=preset, environ={})


EQUAL = [
    (of("mongodb://h"), of("mongodb://H:27017/")),
    (of("mongodb://a,b:1"), of("mongodb://b:1,a:27017")),
    (of("mongodb://h/?w=1&journal=true"), of("mongodb://h/?JOURNAL=true&W=1")),
    (of("mongodb://h/?maxPoolSize=50"), of(max_pool_size="50")),
    (of(compressors="zlib"), of(compressors=["zlib"])),
    (of("mongodb://h/?compressors=snappy,zlib"), of(compressors=("snappy", "zlib"))),
    (of(), of(maxPoolSize=100, minPoolSize=10, socketTimeoutMS=30000.0)),
    (of("mongodb://%75:p%40%20@h"), of("mongodb://u:p%40+@h")),
    (of("mongodb://u:p%40@h"), of(username="u", password="p@")),
    (of("mongodb://h", "development"), of(maxPoolSize=10, minPoolSize=1)),
    (
        of("mongodb://h/?readPreferenceTags=a:b&readPreference=nearest"),
        of(readPreferenceTags=["a:b"], read_preference="nearest"),
    ),
    (of(event_listeners=[LISTENER]), of(event_listeners=(LISTENER,))),
    (of(server_selector=CALLABLE), of(serverSelector=CALLABLE)),
    (of(type_registry=TypeRegistry()), of(type_registry=TypeRegistry())),
    (of(server_api=ServerApi("1")), of(server_api=ServerApi("1"))),
    (of("mongodb://h/?authMechanismProperties=SERVICE_NAME:x"), of(authMechanismProperties={"SERVICE_NAME": "x"})),
    (of("mongodb://h/db"), of(PoolConfig(mongo_uri="mongodb://h", database_name="db"))),
    (of("mongodb://h/?tls=true"), of(ssl=True)),
]
DIFFERENT = [
    (of(), of(maxPoolSize=99), ("maxPoolSize",)),
    (of(), of("mongodb://g"), ("address",)),
    (of(), of("mongodb://h:1"), ("address",)),
    (of("mongodb://u:pw01@h"), of("mongodb://u:pw02@h"), ("credentials",)),
    (of("mongodb://u:pw01@h"), of("mongodb://v:pw01@h"), ("credentials",)),
    (of("mongodb://h/a"), of("mongodb://h/b"), ("database",)),
    (of(), of(w=1), ("w",)),
    (of(event_listeners=[ServerListener()]), of(event_listeners=[ServerListener()]), ("event_listeners",)),
    (of(server_selector=lambda s: s), of(server_selector=lambda s: s), ("server_selector",)),
    (of(max_threads=3, on_replace=print), of(), ("max_threads", "on_replace")),
    (of(document_class=SON), of(document_class=dict), ("document_class",)),
    (
        of(tlsCertificateKeyFilePassword="a"),
        of(tlsCertificateKeyFilePassword="b"),
        ("tlsCertificateKeyFilePassword",),
    ),
    (
        of(authMechanismProperties={"AWS_SESSION_TOKEN": "a"}, authMechanism="MONGODB-AWS"),
        of(authMechanismProperties={"AWS_SESSION_TOKEN": "b"}, authMechanism="MONGODB-AWS"),
        ("authMechanismProperties",),
    ),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_by_meaning(left: ClientSettings, right: ClientSettings) -> None:
    assert left == right
    assert hash(left) == hash(right)
    assert left.key == right.key
    assert left.differing(right) == ()


@pytest.mark.parametrize(("left", "right", "names"), DIFFERENT)
def test_different_and_by_which_names(left: ClientSettings, right: ClientSettings, names: tuple[str, ...]) -> None:
    assert left != right
    assert left.differing(right) == right.differing(left) == names


def test_settings_are_immutable_and_do_not_pickle() -> None:
    settings = of("mongodb://u:secret@h")
    assert copy.copy(settings) is copy.deepcopy(settings) is settings
    for held in (settings, settings.client_options, settings.redactor, settings.value("password")):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(held)
    with pytest.raises(AttributeError):
        settings.database = "x"  # type: ignore[misc]
    assert settings != "x"


def test_what_the_user_changes_afterwards_changes_nothing() -> None:
    names = ["zlib"]
    options: dict[str, Any] = {"compressors": names, "maxPoolSize": 7}
    settings = resolve("mongodb://h", options, environ={})
    names.append("zstd")
    options["maxPoolSize"] = 8
    assert settings.client_options["compressors"] == ["zlib"]
    assert settings.value("maxPoolSize") == 7


class Hostile:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [Hostile(), {"a": Hostile()}, [Hostile()], {1, 2}, b"x", None, 1.5, Hostile])
def test_hashing_and_comparing_never_raise(value: Any) -> None:
    assert freeze(value) == freeze(value)
    assert freeze(value) != freeze(Hostile())
    hash(freeze(value))
