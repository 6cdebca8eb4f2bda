"""Connection strings: the same parts as the driver's parser, and errors that quote nothing."""

from __future__ import annotations

import warnings
from typing import Any
from urllib.parse import quote

import pymongo
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.uri_parser import parse_uri

from async_mongo_pool.config import mask_uri, resolve
from async_mongo_pool.config.uri import Host, split
from async_mongo_pool.errors import PoolConfigurationError

pytestmark = pytest.mark.core

VALID = [
    "mongodb://h",
    "mongodb://h/",
    "mongodb://H:27018/db",
    "mongodb://h?w=1",
    "mongodb://h/?",
    "mongodb://u:p@h",
    "mongodb://u:@h",
    "mongodb://u@h/db",
    "mongodb://u%40x:p%2Fs%25@h/db",
    "mongodb://u:a+b@h/db",
    "mongodb://u:sec#ret@h/db",
    "mongodb://a,b:1,c:65535/db?replicaSet=rs0",
    "mongodb://[::1]",
    "mongodb://[::1]:27018,[fe80::1]/db",
    "mongodb://%2Ftmp%2Fmongodb-27017.sock/db",
    "mongodb://u:p@%2Ftmp%2Fa%2B.sock,h/db",
    "mongodb://h/db.collection",
    "mongodb://h/d%C3%BC",
    "mongodb://h/?w=majority;journal=true",
    "mongodb://h/?readPreference=nearest&readPreferenceTags=dc:ny,rack:1&readPreferenceTags=",
    "mongodb://h/?appName=a%20b%26c+d",
    "mongodb://u:p@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:ab%2Fc%2B%3D",
    "mongodb://u:p@acc.mongo.cosmos.azure.com:10255/?ssl=true&appName=@acc@",
    "mongodb://h/?APPNAME=x&MaxPoolSize=7",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_strings_mean_what_the_driver_says(text: str) -> None:
    ours, theirs = split(text), parse_uri(text)
    assert [(host.name, host.port) for host in ours.hosts] == theirs["nodelist"]
    assert ours.username == theirs["username"]
    assert (ours.password.reveal() if ours.password else "") == (theirs["password"] or "")
    assert ours.database == theirs["database"]


@pytest.mark.parametrize("text", [text for text in VALID if "u@h" not in text and "u:@h" not in text])
def test_the_client_gets_the_same_address_options_and_credentials(text: str) -> None:
    resolved = resolve(text, environ={})
    again = parse_uri(resolved.uri)
    theirs = parse_uri(text)
    assert {key: again[key] for key in ("nodelist", "username", "password", "database")} == {
        key: theirs[key] for key in ("nodelist", "username", "password", "database")
    }
    assert again["options"] == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*CosmosDB.*")
        ours: Any = pymongo.MongoClient(resolved.uri, connect=False, **resolved.client_options)
        plain: Any = pymongo.MongoClient(text, connect=False)
    try:
        assert ours.options.pool_options.appname == plain.options.pool_options.appname
        assert ours.read_preference == plain.read_preference
        assert ours.write_concern == plain.write_concern
        mine, other = ours.options.pool_options._credentials, plain.options.pool_options._credentials
        assert mine == other
    finally:
        ours.close()
        plain.close()


@settings(deadline=None, max_examples=1000, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.one_of(st.none(), st.text(min_size=1, max_size=6)),
    st.text(max_size=6),
    st.lists(st.sampled_from(["a", "B:1", "[::1]:5", "%2Ftmp%2Fx.sock", "1.2.3.4:27017"]), min_size=1, max_size=3),
    st.one_of(st.none(), st.text(alphabet="abü:@%+?#&;=-", min_size=1, max_size=4)),
)
def test_generated_valid_strings_mean_what_the_driver_says(
    username: str | None, password: str, hosts: list[str], database: str | None
) -> None:
    userinfo = "" if username is None else f"{quote(username, safe='')}:{quote(password, safe='')}@"
    text = f"mongodb://{userinfo}{','.join(hosts)}/{quote(database or '', safe='')}"
    ours, theirs = split(text), parse_uri(text)
    assert [(host.name, host.port) for host in ours.hosts] == theirs["nodelist"]
    assert (ours.username, ours.database) == (theirs["username"], theirs["database"])
    assert (ours.password.reveal() if ours.password else "") == (theirs["password"] or "")


SECRET = "SENT1NEL"
MALFORMED = {
    f"user:{SECRET}@host": "begin with mongodb://",
    f"http://user:{SECRET}@host": "begin with mongodb://",
    f"MONGODB://user:{SECRET}@host": "begin with mongodb://",
    f"mongodb://user:{SECRET}/x@host/": "percent-encoded",
    f"mongodb://user:12/{SECRET}@host": "percent-encoded",
    f"mongodb://u:{SECRET}@x@host/": "percent-encoded",
    f"mongodb://u:{SECRET}?x=y@host/db": "percent-encoded",
    f"mongodb://u:12?{SECRET}=y@host/db": "percent-encoded",
    f"mongodb://u:12?w={SECRET}@host/db": "percent-encoded",
    f"mongodb://u:{SECRET}:x@host/db": "percent-encoded",
    f"mongodb://u:{SECRET}%@host/db": "percent-encoded",
    f"mongodb://u:{SECRET}%zz@host/db": "percent-encoded",
    f"mongodb://u:{SECRET}%ff@host/db": "UTF-8",
    f"mongodb://:{SECRET}@host/db": "user name is empty",
    f"mongodb://u:{SECRET}@": "host name is empty",
    f"mongodb://u:{SECRET}@a,,b": "host name is empty",
    f"mongodb://u:{SECRET}@:27017": "host name is empty",
    f"mongodb://u:{SECRET}@h:x": "port is not a number",
    f"mongodb://u:{SECRET}@h:": "port is not a number",
    f"mongodb://u:{SECRET}@h:²": "port is not a number",
    f"mongodb://u:{SECRET}@h:0": "port must be a number from 1",
    f"mongodb://u:{SECRET}@h:65536": "port must be a number from 1",
    f"mongodb://u:{SECRET}@::1": "IPv6",
    f"mongodb://u:{SECRET}@[::1": "IPv6",
    f"mongodb://u:{SECRET}@h%41": "host name holds",
    f"mongodb://u:{SECRET}@h\n": "space or a line break",
    f"mongodb://u:{SECRET}@h/a b": "database name",
    f"mongodb://u:{SECRET}@h/$a": "database name",
    f"mongodb://u:{SECRET}@h/.a": "database name",
    f"mongodb://u:{SECRET}@h/?x": "name=value",
    f"mongodb://u:{SECRET}@h/?w=1&": "name=value",
    f"mongodb://u:{SECRET}@h/?w=1&journal=true;x=1": "both '&' and ';'",
    f"mongodb://u:{SECRET}@h/?tlsCertificateKeyFilePassword={SECRET}=x": "%3D",
    f"mongodb+srv://u:{SECRET}@a,b": "only one",
    f"mongodb+srv://u:{SECRET}@a.b.c:27017": "no port",
    f"mongodb+srv://u:{SECRET}@1.2.3.4": "IP address",
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.items())
def test_malformed_strings_are_explained_and_not_quoted(text: str, reason: str) -> None:
    with pytest.raises(PoolConfigurationError) as caught:
        resolve(text, environ={})
    assert reason in str(caught.value)
    assert SECRET not in str(caught.value)
    assert mask_uri(text) in {"***", "mongodb://***", "mongodb+srv://***"}


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://h/?tlsCertificateKeyFilePassword=a&{SECRET}=1",
        f"mongodb://h/?tlsCertificateKeyFilePassword=a&maxPoolSize={SECRET}",
        f"mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET},{SECRET}2",
        f"mongodb://h/?password={SECRET}",
        f"mongodb://u:{SECRET}@h/?maxPoolSize={SECRET}",
    ],
)
def test_an_option_that_may_be_a_piece_of_a_secret_is_not_quoted(text: str) -> None:
    with pytest.raises(PoolConfigurationError) as caught:
        resolve(text, environ={})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mongodb://u:secret@H/db?w=1", "mongodb://u:***@h:27017/db"),
        ("mongodb://same:same@h", "mongodb://***:***@h:27017/"),
        ("mongodb://u@h", "mongodb://u@h:27017/"),
        ("mongodb+srv://u:secret@c.abc.net/db", "mongodb+srv://u:***@c.abc.net/db"),
        ("mongodb://u:p@[fe80::1%25eth0]:5", "mongodb://u:***@[fe80::1%25eth0]:5/"),
        ("mongodb://%2Ftmp%2Fx.sock", "mongodb://%2Ftmp%2Fx.sock/"),
        (None, "***"),
    ],
)
def test_the_masked_form_shows_the_address_only(text: str | None, masked: str) -> None:
    assert mask_uri(text) == masked


def test_srv_names_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("looked up"))
    monkeypatch.setattr("dns.resolver.resolve", lambda *_, **__: pytest.fail("looked up"))
    settings_ = resolve("mongodb+srv://c.abc.mongodb.net/?srvServiceName=x&srvMaxHosts=2", environ={})
    assert settings_.uri == "mongodb+srv://c.abc.mongodb.net/"
    assert settings_.client_options["srvServiceName"] == "x"
    assert split("mongodb+srv://c.abc.mongodb.net").hosts == (Host("c.abc.mongodb.net", None),)
