"""PoolConfig: builders that quote, variables, presets, copies, and pickles without secrets."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from async_mongo_pool.config import PoolConfig, resolve
from async_mongo_pool.config.sources import PRESETS
from async_mongo_pool.errors import PoolConfigurationError

pytestmark = pytest.mark.core

PASSWORD = "p@ss/w:rd%"
QUOTED = "p%40ss%2Fw%3Ard%25"


def settings_of(config: PoolConfig, **environ: str) -> Any:
    return resolve(config, environ=environ)


def refusal(build: Any) -> str:
    with pytest.raises(PoolConfigurationError) as caught:
        build()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def again(config: PoolConfig) -> PoolConfig:
    pickled = pickle.dumps(config)
    assert PASSWORD.encode() not in pickled
    assert QUOTED.encode() not in pickled
    loaded = pickle.loads(pickled)  # noqa: S301 (just written)
    assert isinstance(loaded, PoolConfig)
    return loaded


def test_fields_are_arguments() -> None:
    config = PoolConfig(
        mongo_uri="mongodb://h/?maxPoolSize=5&minPoolSize=1",
        database_name="app",
        max_pool_size=50,
        min_pool_size=5,
        max_idle_time_ms=60000,
        server_selection_timeout_ms=1,
        connect_timeout_ms=2,
        replica_set_name="rs0",
        max_threads=9,
        options={"localThresholdMS": 7},
    )
    settings = settings_of(config)
    assert settings.value("maxPoolSize") == 50
    assert settings.value("localThresholdMS") == 7
    assert settings.value("replicaSet") == "rs0"
    assert settings.pool_options.max_threads == 9
    assert settings.database == "app"
    assert {row.source for row in settings.explain() if row.name in {"maxPoolSize", "max_threads"}} == {"argument"}
    assert resolve(config, {"maxPoolSize": 70}, environ={}).value("maxPoolSize") == 70
    assert "given twice" in refusal(
        lambda: PoolConfig(mongo_uri="mongodb://h", max_pool_size=5, options={"maxPoolSize": 6}).explain({})
    )


def test_local() -> None:
    assert settings_of(PoolConfig.local()).uri == "mongodb://localhost:27017/"
    config = PoolConfig.local("h", 27018, database="app", username="u@x", password=PASSWORD, maxPoolSize=7)
    settings = settings_of(config)
    assert settings.uri == f"mongodb://u%40x:{QUOTED}@h:27018/app"
    assert settings.value("authSource") == "admin"
    assert settings.database == "app"
    assert settings.value("maxPoolSize") == 7
    assert settings_of(PoolConfig.local("::1")).uri == "mongodb://[::1]:27017/"
    assert settings_of(PoolConfig.local("/run/m.sock")).uri == "mongodb://%2Frun%2Fm.sock/"


def test_replica_set() -> None:
    settings = settings_of(PoolConfig.replica_set(["a", "b:1"], "rs0", database="app", read_preference="nearest"))
    assert settings.uri == "mongodb://a:27017,b:1/app"
    assert settings.value("replicaSet") == "rs0"
    assert settings.value("readPreference") == "nearest"
    assert (
        settings_of(PoolConfig.replica_set("a,b:1", "rs0", database="app", read_preference="nearest")) == settings
    )


def test_atlas() -> None:
    settings = settings_of(
        PoolConfig.atlas(username="u", password=PASSWORD, cluster="C.abc.mongodb.net", database="app")
    )
    assert settings.uri == f"mongodb+srv://u:{QUOTED}@c.abc.mongodb.net/app"
    assert (settings.value("w"), settings.value("retryWrites"), settings.value("authSource")) == (
        "majority",
        True,
        None,
    )
    own = PoolConfig.atlas(username="u", password=PASSWORD, cluster="c.abc.mongodb.net", w=1)
    assert settings_of(own).value("w") == 1


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: PoolConfig.local(""), "host"),
        (lambda: PoolConfig.local("h:27017"), "host"),
        (lambda: PoolConfig.local("h", 0), "port"),
        (lambda: PoolConfig.local("h", "x"), "port"),
        (lambda: PoolConfig.local("h", True), "port"),
        (lambda: PoolConfig.local(username=""), "username"),
        (lambda: PoolConfig.local(password=PASSWORD), "username"),
        (lambda: PoolConfig.local(database="a b"), "database"),
        (lambda: PoolConfig.local(username="\ud800", password="x"), "username"),
        (lambda: PoolConfig.replica_set(name="rs0"), "hosts"),
        (lambda: PoolConfig.replica_set([], "rs0"), "hosts"),
        (lambda: PoolConfig.replica_set(["a"]), "name"),
        (lambda: PoolConfig.atlas(password=PASSWORD, cluster="c"), "username"),
        (lambda: PoolConfig.atlas(username="u", cluster="c"), "password"),
        (lambda: PoolConfig.atlas(username="u", password=PASSWORD), "cluster"),
        (lambda: PoolConfig.atlas(username="u", password=PASSWORD, cluster="mongodb+srv://c"), "cluster"),
        (lambda: PoolConfig().replace(pool_size=3), "pool_size"),
        (lambda: PoolConfig(mongo_uri="mongodb://h", database_name="a.b").explain({}), "database_name"),
        (lambda: PoolConfig(mongo_uri="mongodb://h", database_name="a b").explain({}), "database"),
        (lambda: PoolConfig(mongo_uri=3).explain({}), "int"),  # type: ignore[arg-type]
        (lambda: PoolConfig(mongo_uri="mongodb://h", options=3).explain({}), "options"),  # type: ignore[arg-type]
    ],
)
def test_what_is_missing_or_wrong_is_named(build: Any, named: str) -> None:
    assert named in refusal(build)


def test_a_default_database_does_not_move_the_user() -> None:
    moved = settings_of(PoolConfig(mongo_uri="mongodb://u:pw01@h", database_name="app"))
    assert (moved.uri, moved.database) == ("mongodb://u:pw01@h:27017/", "app")
    kept = settings_of(PoolConfig(mongo_uri="mongodb://u:pw01@h/?authSource=users", database_name="app"))
    assert kept.uri == "mongodb://u:pw01@h:27017/app"


def test_from_env_reads_parts() -> None:
    environ = {
        "MONGO_HOST": "h",
        "MONGO_PORT": "27018",
        "MONGO_USERNAME": "u",
        "MONGO_PASSWORD": PASSWORD,
        "MONGO_DATABASE": "app",
        "MONGO_AUTH_MECHANISM": "SCRAM-SHA-256",
        "MONGO_REPLICA_SET": "rs0",
        "MONGO_TLS": "true",
        "MONGO_MAX_POOL_SIZE": "7",
    }
    settings = settings_of(PoolConfig.from_env(environ=environ))
    assert settings.uri == f"mongodb://u:{QUOTED}@h:27018/app"
    names = ("authSource", "authMechanism", "replicaSet", "tls", "maxPoolSize")
    assert [settings.value(name) for name in names] == ["admin", "SCRAM-SHA-256", "rs0", True, 7]
    users = {**environ, "MONGO_AUTH_SOURCE": "users"}
    assert settings_of(PoolConfig.from_env(environ=users)).value("authSource") == "users"
    assert settings_of(PoolConfig.from_env("DB_", {"DB_HOST": "a,b:1"})).uri == "mongodb://a:27017,b:1/"
    assert settings_of(PoolConfig.from_env(environ={})).uri == "mongodb://localhost:27017/"


def test_from_env_prefers_a_whole_connection_string() -> None:
    environ = {"MONGO_HOST": "part", "MONGODB_URI": "mongodb://whole", "MONGO_DATABASE": "app"}
    settings = settings_of(PoolConfig.from_env(environ=environ))
    assert (settings.uri, settings.database) == ("mongodb://whole:27017/app", "app")
    own = {**environ, "MONGO_URI": "mongodb://own/db"}
    assert settings_of(PoolConfig.from_env(environ=own)).uri == "mongodb://own:27017/db"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"X_PORT": "many"}, "X_PORT"),
        ({"X_PORT": "70000"}, "X_PORT"),
        ({"X_PASSWORD": PASSWORD}, "X_USERNAME"),
        ({"X_HOST": f"mongodb://u:{PASSWORD}@h"}, "X_URI"),
        ({"X_HOST": "a b"}, "X_HOST"),
        ({"X_TLS": "maybe"}, "X_TLS"),
        ({"X_MAX_POOL_SIZE": "many"}, "X_MAX_POOL_SIZE"),
    ],
)
def test_from_env_names_the_variable(environ: dict[str, str], named: str) -> None:
    assert named in refusal(lambda: PoolConfig.from_env("X_", environ))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_class_methods_and_names(preset: str) -> None:
    config = getattr(PoolConfig, preset)("mongodb://h")
    assert settings_of(config) == resolve("mongodb://h", preset=preset, environ={})
    assert settings_of(PoolConfig(mongo_uri="mongodb://h", preset=preset)) == settings_of(config)
    assert resolve(config, preset="development", environ={}) == settings_of(PoolConfig.development("mongodb://h"))
    assert getattr(PoolConfig, preset)("mongodb://h", max_pool_size=77).max_pool_size == 77


def test_a_pool_config_is_a_value() -> None:
    one = PoolConfig(
        mongo_uri=f"mongodb://u:{QUOTED}@h", compressors=["zlib"], options={"w": 1, "password": PASSWORD}
    )
    two = PoolConfig(
        mongo_uri=f"mongodb://u:{QUOTED}@h", compressors=["zlib"], options={"w": 1, "password": PASSWORD}
    )
    assert one == two
    assert hash(one) == hash(two)
    assert one != one.replace(max_pool_size=3)
    shown = f"{one!r} {one} {vars(one)} {dataclasses.asdict(one)}"
    assert PASSWORD not in shown
    assert QUOTED not in shown
    assert "mongodb://u:***@h" in repr(one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.max_pool_size = 4  # type: ignore[misc]


def test_a_pickle_without_secrets_is_complete() -> None:
    config = PoolConfig.production(
        "mongodb://h/db?readPreferenceTags=a:b&readPreference=nearest", max_pool_size=60
    )
    assert again(config) == config
    assert settings_of(again(config)) == settings_of(config)


def test_after_a_pickle_the_password_comes_from_the_environment() -> None:
    config = PoolConfig.local("h", username="u", password=PASSWORD)
    loaded = again(config)
    assert loaded.withheld == ("password",)
    assert settings_of(loaded, MONGO_PASSWORD=PASSWORD) == settings_of(config)
    assert settings_of(loaded, MONGODB_URI=f"mongodb://u:{QUOTED}@h:27017/") == settings_of(config)
    assert settings_of(loaded.replace(password=PASSWORD)) == settings_of(config)
    assert resolve(loaded, {"password": PASSWORD}, environ={}) == settings_of(config)
    assert settings_of(again(loaded), MONGO_PASSWORD=PASSWORD) == settings_of(config)


def test_after_a_pickle_the_prefix_is_remembered() -> None:
    loaded = again(PoolConfig.from_env("DB_", {"DB_USERNAME": "u", "DB_PASSWORD": PASSWORD}))
    assert settings_of(loaded, DB_PASSWORD=PASSWORD).value("password").reveal() == PASSWORD
    assert "DB_PASSWORD" in refusal(lambda: settings_of(loaded, MONGO_PASSWORD=PASSWORD))


def test_after_a_pickle_another_address_gives_no_password() -> None:
    loaded = again(PoolConfig(mongo_uri=f"mongodb://u:{QUOTED}@h"))
    for other in (f"mongodb://u:{QUOTED}@elsewhere", f"mongodb://v:{QUOTED}@h"):
        text = refusal(lambda other=other: settings_of(loaded, MONGODB_URI=other))
        assert "MONGO_PASSWORD" in text
        assert "password" in text


def test_after_a_pickle_other_secrets_are_missed_by_name() -> None:
    config = PoolConfig(mongo_uri="mongodb://h", options={"tlsCertificateKeyFilePassword": PASSWORD, "w": 1})
    loaded = again(config)
    assert "tlsCertificateKeyFilePassword" in refusal(lambda: settings_of(loaded))
    given = loaded.replace(options={"tlsCertificateKeyFilePassword": PASSWORD, "w": 1})
    assert settings_of(given) == settings_of(config)
    aws = "mongodb://k:{}@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{}"
    token = PoolConfig(mongo_uri=aws.format(QUOTED, QUOTED))
    assert settings_of(again(token), MONGODB_URI=aws.format(QUOTED, QUOTED)) == settings_of(token)
    assert "connection string" in refusal(
        lambda: settings_of(again(PoolConfig(mongo_uri=f"mongodb://u:{PASSWORD}@h")))
    )
