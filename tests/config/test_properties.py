"""Generated configurations of every kind: a client, or one clear error; never a secret."""

from __future__ import annotations

import logging
import pickle
import warnings
from typing import Any
from urllib.parse import quote

import pymongo
import pytest
from bson.codec_options import TypeRegistry
from bson.son import SON
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.driver_info import DriverInfo
from pymongo.errors import PyMongoError
from pymongo.monitoring import ServerListener
from pymongo.read_preferences import Nearest, Primary, SecondaryPreferred
from pymongo.server_api import ServerApi
from pymongo.write_concern import WriteConcern

from async_mongo_pool.config import PoolConfig, mask_uri, resolve
from async_mongo_pool.config.vocabulary import SPELLINGS
from async_mongo_pool.errors import PoolConfigurationError

from .leaks import found, shown_by_error, shown_by_settings

pytestmark = [pytest.mark.core, pytest.mark.filterwarnings("default")]

SENTINEL = "Zq7xSENTINELw9K"
QUIET = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)

numbers = st.one_of(
    st.integers(-2, 700),
    st.sampled_from([0, 1, 10**9, 10**12, -1, 0.5, 1e308, float("nan"), float("inf"), True, False]),
    st.sampled_from(["0", "5", "100", "-1", "abc", "", " 7", "1e3", "٣", "1" * 5000]),
)
booleans = st.sampled_from([True, False, "true", "false", "True", 1, 0, "yes", ""])
words = st.sampled_from(
    ["majority", "primary", "secondary", "nearest", "local", "admin", "app", "", "snappy,zlib"]
)
objects = st.sampled_from(
    [
        Primary(),
        SecondaryPreferred(tag_sets=[{"dc": "ny"}]),
        Nearest(max_staleness=120),
        ServerApi("1"),
        DriverInfo("x", "1"),
        TypeRegistry(),
        [ServerListener()],
        ["zlib"],
        ["zlib", "brotli"],
        [{"dc": "ny"}],
        ["dc:ny", ""],
        {"ENVIRONMENT": "test"},
        {"x": object()},
        WriteConcern(1),
        SON,
        dict,
        dict[str, Any],
        print,
        object(),
        b"bytes",
        (),
        [],
        {},
        10**5000,
        "\ud800",
        "SCRAM-SHA-256",
        "MONGODB-X509",
        "MONGODB-AWS",
        "MONGODB-OIDC",
        "GSSAPI",
        "PLAIN",
        "DATETIME_AUTO",
        "pythonLegacy",
        "x" * 200,
    ]
)
values = st.one_of(numbers, booleans, words, objects, st.none())
# Files are opened by the driver when the client is built: not this module's matter.
names = st.sampled_from([name for name in SPELLINGS if "File" not in name or "Password" in name])


@st.composite
def spellings(draw: st.DrawFn) -> str:
    name = draw(
        st.one_of(names, st.sampled_from(["ssl", "writeConcern", "pool_size", "maxPolSize", "host", "x y"]))
    )
    variant = draw(st.sampled_from(["as it is", "lower", "upper", "snake"]))
    if variant == "snake":
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return {"as it is": name, "lower": name.lower(), "upper": name.upper()}[variant]


own_options = st.dictionaries(
    st.sampled_from(
        [
            "max_threads",
            "maxWaiting",
            "slow_checkout_ms",
            "command_stats",
            "retireAfter",
            "retire_limit",
            "on_replace",
        ]
    ),
    st.one_of(numbers, objects),
    max_size=2,
)
sane_options = st.fixed_dictionaries(
    {},
    optional={
        "maxPoolSize": st.integers(0, 300),
        "min_pool_size": st.integers(0, 300),
        "timeoutMS": st.integers(0, 5000),
        "w": st.sampled_from([0, 1, "majority", "1"]),
        "journal": st.booleans(),
        "fsync": st.booleans(),
        "tls": st.booleans(),
        "tlsInsecure": st.booleans(),
        "tlsAllowInvalidCertificates": st.booleans(),
        "tlsDisableOCSPEndpointCheck": st.booleans(),
        "directConnection": st.booleans(),
        "loadBalanced": st.booleans(),
        "replicaSet": st.just("rs0"),
        "readPreference": st.sampled_from(["primary", "nearest", Primary(), Nearest()]),
        "readPreferenceTags": st.sampled_from(["dc:ny", ["dc:ny", ""], "", "broken"]),
        "maxStalenessSeconds": st.sampled_from([-1, 90, "120"]),
        "username": st.sampled_from(["u", "ü:@"]),
        "password": st.just(SENTINEL),
        "authMechanism": st.sampled_from(["SCRAM-SHA-1", "MONGODB-X509", "MONGODB-AWS", "MONGODB-OIDC", "PLAIN"]),
        "authMechanismProperties": st.sampled_from(
            [f"AWS_SESSION_TOKEN:{SENTINEL}", {"ENVIRONMENT": "test"}, {"SERVICE_NAME": "x"}, {"OTHER": SENTINEL}]
        ),
        "tz_aware": st.booleans(),
        "compressors": st.sampled_from(["zlib", ["zlib", "snappy"], "zstd"]),
        "srvMaxHosts": st.sampled_from([0, 2]),
        "heartbeatFrequencyMS": st.sampled_from([100, 499, 500, 10000]),
        "event_listeners": st.just([ServerListener()]),
    },
)
with_secrets = st.sampled_from(
    [
        {"authMechanismProperties": {"AWS_SESSION_TOKEN": SENTINEL}, "authMechanism": "MONGODB-AWS"},
        {"AUTH_mechanism_PROPERTIES": f"AWS_SESSION_TOKEN:{SENTINEL}", "password": SENTINEL},
        {"authMechanismProperties": f"SERVICE_NAME:x,{SENTINEL}"},
        {"authMechanismProperties": {"AWS_SESSION_TOKEN": [SENTINEL]}},
        {"authMechanismProperties": SENTINEL},
        {"tlsCertificateKeyFilePassword": SENTINEL, "tls": True},
        {"tlsCertificateKeyFilePassword": SENTINEL.encode()},
        {"maxPoolSize": f"mongodb://u:{SENTINEL}@h"},
        {"pasword": SENTINEL},
        {"password": SENTINEL, "appName": 3},
        {"password": SENTINEL.encode()},
        {"proxyPassword": SENTINEL},
        {"ssl_password": SENTINEL},
    ]
)
wild_options = st.one_of(
    st.dictionaries(st.one_of(spellings(), st.just(3)), values, max_size=3), own_options, with_secrets
)

# What a person forgets to escape around, and inside, a password.
reserved = st.text(alphabet="/@:?#%&=+;,[]. \\'\"ü\n", max_size=3)
passwords = st.builds(lambda before, after: before + SENTINEL + after, reserved, reserved)
hosts = st.sampled_from(
    [
        "h",
        "H:27018",
        "h:",
        "h:x",
        "h:0",
        "h:70000",
        "a,b",
        "a:1,b:2,",
        "",
        "[::1]",
        "[::1]:27018",
        "[fe80::1%25eth0]",
        "::1",
        "[::1",
        "%2Ftmp%2Fmongodb-27017.sock",
        "/run/m.sock",
        "h%41",
        "1.2.3.4",
        "h h",
        "acc.mongo.cosmos.azure.com:10255",
        "cluster0.abc.mongodb.net",
    ]
)
queries = st.one_of(
    st.just(""),
    st.lists(
        st.one_of(
            st.builds(lambda name, value: f"{name}={value}", spellings(), st.one_of(numbers, booleans, words)),
            st.sampled_from(
                [
                    "appName=@acc@",
                    f"authMechanismProperties=AWS_SESSION_TOKEN:{SENTINEL}%2B",
                    f"authMechanismProperties=AWS_SESSION_TOKEN:{SENTINEL}%2C{SENTINEL}",
                    f"tlsCertificateKeyFilePassword={SENTINEL}",
                    f"tlsCertificateKeyFilePassword=a&{SENTINEL}=1",
                    f"password={SENTINEL}",
                    "readPreferenceTags=dc:ny",
                    "readPreferenceTags=",
                    "readPreference=nearest",
                    "tls=true",
                    "x",
                    "=",
                    "a=b=c",
                ]
            ),
        ),
        max_size=3,
    ).flatmap(lambda pairs: st.sampled_from(["&", ";"]).map(lambda separator: "?" + separator.join(pairs))),
)


@st.composite
def connection_strings(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["mongodb://"] * 6 + ["mongodb+srv://"] * 2 + ["MongoDB://", "http://", ""]))
    userinfo = ""
    if draw(st.booleans()):
        password = draw(passwords)
        user = draw(st.sampled_from(["u", "u:", "", "us/er"]))
        userinfo = f"{user}:{quote(password, safe='') if draw(st.booleans()) else password}@"
    path = draw(st.sampled_from(["", "/", "/db", "/db.c", "/a b", "/a%2Fb", "/$x", "/."]))
    return scheme + userinfo + draw(hosts) + path + draw(queries)


environments = st.dictionaries(
    st.sampled_from(
        ["MONGODB_" + name for name in ("MAX_POOL_SIZE", "MIN_POOL_SIZE", "W", "JOURNAL", "RETRY_WRITES", "OTHER")]
        + ["MONGODB_TIMEOUT_MS", "MONGODB_READ_PREFERENCE", "MONGODB_RETIRE_AFTER"]
    ),
    st.sampled_from(["", "1", "300", "true", "TRUE", "majority", "nearest", "-5", "x"]),
    max_size=3,
)
presets = st.sampled_from([None, None, "development", "production", "high_concurrency", "serverless", "prod", 7])


def refuse_leaks(error: PoolConfigurationError) -> None:
    shown = shown_by_error(error)
    assert not found([SENTINEL], shown), shown
    assert error.__cause__ is None
    assert error.__context__ is None


def check(connection: Any, options: Any, preset: Any, environ: dict[str, str]) -> bool:
    """Resolve, build the driver's client, render everything; return whether a client was built."""
    try:
        resolved = resolve(connection, options, preset=preset, environ=environ)
    except PoolConfigurationError as error:
        refuse_leaks(error)
        return False
    assert not found([SENTINEL], shown_by_settings(resolved))
    assert resolved == resolved
    hash(resolved)
    assert SENTINEL not in resolved.redactor.scrub(resolved.uri)
    problem = None
    try:
        pymongo.MongoClient(resolved.uri, connect=False, **resolved.client_options).close()
    except (PyMongoError, ValueError, TypeError) as error:
        problem = resolved.redactor.scrub_exception(error)
    if problem is not None:
        assert not found([SENTINEL], shown_by_error(problem))
        # Everything that this driver refuses is known to be refused before.
        raise AssertionError(f"the driver refused what resolve accepted: {problem!r}")
    return True


@settings(QUIET, max_examples=3500)
@given(connection_strings(), wild_options, presets, environments)
def test_any_input_gives_a_client_or_a_clear_error(
    connection: str, options: dict[str, Any], preset: Any, environ: dict[str, str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(connection, options, preset, environ)


@settings(QUIET, max_examples=1500)
@given(
    st.sampled_from(
        ["mongodb://h", "mongodb://u:p%40@a,b:1/db", "mongodb+srv://c.abc.mongodb.net/?retryWrites=false"]
    ),
    sane_options,
    presets.filter(lambda name: name != "prod" and name != 7),
)
def test_combinations_of_valid_values_give_a_client_or_a_contradiction(
    connection: str, options: dict[str, Any], preset: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(connection, options, preset, {})


@settings(QUIET, max_examples=3500)
@given(
    st.sampled_from(["mongodb", "mongodb+srv"]),
    st.sampled_from(["user", "u", "us%40er"]),
    st.text(alphabet="/@:?#%&=+;,[]12. \\'\"\n", max_size=4),
    st.text(alphabet="/@:?#%&=+;,[]12. \\'\"\n", max_size=4),
    st.sampled_from(["@host/", "@host", "@host:27017/db?w=1", "@host/db?appName=@x@", "@"]),
)
def test_no_part_of_an_unescaped_password_is_ever_shown(
    scheme: str, user: str, before: str, after: str, rest: str
) -> None:
    text = f"{scheme}://{user}:{before}{SENTINEL}{after}{rest}"
    shown = mask_uri(text) + repr(PoolConfig(mongo_uri=text))
    try:
        shown += shown_by_settings(resolve(text, environ={}))
    except PoolConfigurationError as error:
        shown += shown_by_error(error)
    assert not found([SENTINEL], shown), shown


@settings(QUIET, max_examples=1000)
@given(
    st.text(min_size=1, max_size=12).map(lambda text: SENTINEL + text),
    st.sampled_from(["local", "replica_set", "atlas", "uri", "from_env"]),
    sane_options,
)
def test_a_pool_config_and_its_pickle_show_no_secret(password: str, how: str, options: dict[str, Any]) -> None:
    options = {name: value for name, value in options.items() if name not in {"username", "password"}}
    try:
        config = build(how, password, options)
    except PoolConfigurationError as error:
        refuse_leaks(error)
        return
    assert not found([SENTINEL], f"{config!r} {config} {vars(config)}")
    logging.getLogger("x").debug("%s", config)
    plain = {name: value for name, value in options.items() if name != "event_listeners"}
    pickled = pickle.dumps(build(how, password, plain))
    assert SENTINEL.encode() not in pickled
    try:
        resolve(pickle.loads(pickled), environ={})  # noqa: S301 (just written)
    except PoolConfigurationError as error:
        refuse_leaks(error)
    else:
        raise AssertionError("a pickle without its password was usable")


def build(how: str, password: str, options: dict[str, Any]) -> PoolConfig:
    if how == "local":
        return PoolConfig.local(username="u", password=password, **options)
    if how == "replica_set":
        return PoolConfig.replica_set(["a", "b:1"], "rs0", username="u", password=password, **options)
    if how == "atlas":
        return PoolConfig.atlas(username="u", password=password, cluster="c.abc.mongodb.net", **options)
    if how == "from_env":
        environ = {"MONGO_USERNAME": "u", "MONGO_PASSWORD": password, "MONGO_HOST": "h"}
        return PoolConfig.from_env(environ=environ)
    encoded = quote(password.encode("utf-8", "surrogatepass"), safe="")
    return PoolConfig(mongo_uri=f"mongodb://u:{encoded}@h/", options=options)


@settings(QUIET, max_examples=500)
@given(
    st.dictionaries(
        st.sampled_from(["appName", "maxPoolSize", "w", "journal", "readPreference", "localThresholdMS"]),
        st.just(1),
    ),
    st.randoms(),
)
def test_order_case_and_underscores_change_nothing(chosen: dict[str, int], random: Any) -> None:
    meant = {
        "appName": "x",
        "maxPoolSize": 20,
        "w": 1,
        "journal": True,
        "readPreference": "nearest",
        "localThresholdMS": 15,
    }
    options = {name: meant[name] for name in chosen}
    shuffled = list(options.items())
    random.shuffle(shuffled)
    respelt = {
        "".join(random.choice([letter, letter.upper(), f"_{letter}"]) for letter in name): value
        for name, value in shuffled
    }
    assert resolve("mongodb://h", options, environ={}) == resolve("mongodb://H:27017/", respelt, environ={})
