"""What options mean to each other, which names and values are refused, and what the refusals say."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pymongo
import pytest
from pymongo.driver_info import DriverInfo
from pymongo.monitoring import ServerListener
from pymongo.read_preferences import Nearest, Secondary

from async_mongo_pool.config import PoolConfig, PoolOptions, resolve
from async_mongo_pool.config.sources import PRESETS
from async_mongo_pool.errors import PoolConfigurationError

pytestmark = pytest.mark.core


def sizes(options: dict[str, Any], preset: str | None = None, query: str = "", **environ: str) -> tuple[Any, Any]:
    settings = resolve(f"mongodb://h/{query}", options, preset=preset, environ=environ)
    pymongo.MongoClient(settings.uri, connect=False, **settings.client_options).close()
    return settings.value("maxPoolSize"), settings.value("minPoolSize")


def refusal(connection: Any = "mongodb://h", options: Any = None, preset: Any = None, **environ: str) -> str:
    with pytest.raises(PoolConfigurationError) as caught:
        resolve(connection, options, preset=preset, environ=environ)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "preset", "expected"),
    [
        ({"maxPoolSize": 5}, None, (5, 5)),
        ({"maxPoolSize": 50}, None, (50, 10)),
        ({"minPoolSize": 200}, None, (200, 200)),
        ({"minPoolSize": 0}, None, (100, 0)),
        ({"maxPoolSize": 0}, None, (0, 10)),
        ({"maxPoolSize": 0, "minPoolSize": 300}, None, (0, 300)),
        ({"maxPoolSize": 5}, "production", (5, 5)),
        ({"minPoolSize": 50}, "development", (50, 50)),
        ({}, "serverless", (10, 0)),
        ({"maxPoolSize": 7, "minPoolSize": 7}, None, (7, 7)),
    ],
)
def test_a_default_bends_to_what_the_user_set(options: dict[str, Any], preset: Any, expected: Any) -> None:
    assert sizes(options, preset) == expected


def test_a_default_bends_to_the_uri_and_to_the_environment() -> None:
    assert sizes({}, None, "?maxPoolSize=5") == (5, 5)
    assert sizes({}, None, MONGODB_MIN_POOL_SIZE="200") == (200, 200)


def test_a_bent_value_says_so() -> None:
    lowered = {row.name: row.source for row in resolve("mongodb://h", {"maxPoolSize": 5}, environ={}).explain()}
    raised = {row.name: row.source for row in PoolConfig.development("mongodb://h", min_pool_size=50).explain({})}
    assert lowered["minPoolSize"] == "default, lowered to maxPoolSize"
    assert raised["maxPoolSize"] == "preset development, raised to minPoolSize"


def test_two_values_of_the_user_are_not_bent() -> None:
    text = refusal("mongodb://h/?maxPoolSize=5", {"minPoolSize": 6})
    assert "maxPoolSize=5 (URI)" in text
    assert "minPoolSize=6 (argument)" in text
    assert "MONGODB_MIN_POOL_SIZE" in refusal(options={"maxPoolSize": 5}, MONGODB_MIN_POOL_SIZE="9")


@pytest.mark.parametrize("preset", [None, "high_concurrency"])
def test_with_timeout_ms_the_socket_and_queue_defaults_step_aside(preset: Any) -> None:
    settings = resolve("mongodb://h/?timeoutMS=100", preset=preset, environ={})
    assert settings.value("socketTimeoutMS") is None
    assert settings.value("waitQueueTimeoutMS") is None
    own = resolve("mongodb://h", {"timeoutMS": 100, "socketTimeoutMS": 7}, environ={})
    assert own.value("socketTimeoutMS") == 7


def test_the_journal_of_a_preset_gives_way() -> None:
    assert resolve("mongodb://h", {"w": 0}, preset="production", environ={}).value("journal") is None
    assert resolve("mongodb://h", {"fsync": True}, preset="production", environ={}).value("journal") is None


def test_retirement_times_bend_and_contradict() -> None:
    longer = resolve("mongodb://h", {"retire_after": 600}, environ={}).pool_options
    shorter = resolve("mongodb://h", {"retire_limit": 10}, environ={}).pool_options
    assert (longer.retire_after, longer.retire_limit) == (600, 600)
    assert (shorter.retire_after, shorter.retire_limit) == (10, 10)
    assert "retire_after" in refusal(options={"retire_after": 9, "retire_limit": 8})


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_threads": 0},
        {"max_waiting": -1},
        {"max_waiting": 1.5},
        {"slow_checkout_ms": 0},
        {"slow_command_ms": "soon"},
        {"command_stats": 1},
        {"heartbeat_stats": "yes"},
        {"max_threads": 1.5},
        {"max_threads": True},
        {"retire_after": 0},
        {"retire_limit": float("nan")},
        {"retire_after": 31.0, "retire_limit": 30.0},
        {"on_replace": 3},
    ],
)
def test_pool_options_check_themselves(wrong: dict[str, Any]) -> None:
    with pytest.raises(PoolConfigurationError):
        PoolOptions(**wrong)
    assert next(iter(wrong)) in refusal(options=wrong)


def test_an_unknown_preset_names_the_four() -> None:
    text = refusal(preset="prod")
    assert all(name in text for name in PRESETS)
    assert "'prod'" in text


@pytest.mark.parametrize("name", ["maxPoolSize", "MAXPOOLSIZE", "max_pool_size", "Max_Pool_size"])
def test_names_compare_without_case_and_underscores(name: str) -> None:
    settings = resolve("mongodb://h", {name: 42}, environ={})
    assert settings.client_options["maxPoolSize"] == 42
    assert settings.value(name) == 42


def test_a_read_preference_has_the_spelling_of_its_type() -> None:
    for name in ("read_preference", "readPreference"):
        by_mode = resolve("mongodb://h", {name: "secondary"}, environ={})
        by_object = resolve("mongodb://h", {name: Secondary()}, environ={})
        assert by_mode.client_options["readPreference"] == "secondary"
        assert by_object.client_options["read_preference"] == Secondary()
        assert by_mode == by_object
    over_uri = resolve(
        "mongodb://h/?readPreference=nearest&readPreferenceTags=a:b", {"read_preference": Secondary()}, environ={}
    )
    assert "readPreferenceTags" not in over_uri.client_options
    assert "readPreferenceTags" in refusal(options={"read_preference": Nearest(), "readPreferenceTags": "a:b"})


def test_two_spellings_with_two_values_are_refused() -> None:
    text = refusal(options={"maxPoolSize": 5, "max_pool_size": 6})
    assert "maxPoolSize" in text
    assert "max_pool_size" in text
    assert "tls" in refusal("mongodb://h/?tls=true&ssl=false")
    assert "maxPoolSize" in refusal("mongodb://h/?maxPoolSize=5&maxPoolSize=6")
    assert resolve("mongodb://h", {"maxPoolSize": 5, "max_pool_size": "5"}, environ={}).value("maxPoolSize") == 5
    assert resolve("mongodb://h/?ssl=true", environ={}).client_options["tls"] is True


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("maxPolSize", "maxPoolSize"),
        ("appNam", "appName"),
        ("retryWrite", "retryWrites"),
        ("max_thread", "max_threads"),
    ],
)
def test_an_unknown_name_gets_the_nearest_real_ones(name: str, meant: str) -> None:
    assert meant in refusal(options={name: 1})
    assert meant in refusal(f"mongodb://h/?{name}=1")
    assert "(URI)" in refusal(f"mongodb://h/?{name}=1")


def test_a_name_that_resembles_nothing_gets_no_suggestion() -> None:
    assert "Did you mean" not in refusal(options={"use_unicode": True})
    assert "int" in refusal(options={7: True})


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("writeConcern", {"w": 1}, "wTimeoutMS"),
        ("readConcern", "local", "readConcernLevel"),
        ("ssl_context", object(), "tlsCAFile"),
        ("sslContext", object(), "tlsCAFile"),
        ("ssl_ca_certs", "x", "tlsCAFile"),
        ("ssl_certfile", "x", "tlsCertificateKeyFile"),
        ("host", "h", "PoolConfig.local"),
        ("port", 1, "PoolConfig.local"),
        ("hosts", ["h"], "connection string"),
        ("wtimeout", 1, "wTimeoutMS"),
        ("io_loop", object(), "every event loop"),
        ("connect", False, "configure()"),
        ("waitQueueMultiple", 5, "removed"),
        ("max_overflow", 5, "maxPoolSize"),
        ("pool_size", 5, "maxPoolSize"),
        ("pool_recycle", 5, "maxIdleTimeMS"),
    ],
)
def test_names_of_older_guides_and_other_libraries_get_an_answer(name: str, value: Any, answer: str) -> None:
    assert answer in refusal(options={name: value})


def test_connect_true_is_what_happens_anyway() -> None:
    assert resolve("mongodb://h/?connect=true", {"connect": True}, environ={}) == resolve(
        "mongodb://h", environ={}
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxPoolSize", "abc"),
        ("maxPoolSize", -1),
        ("maxPoolSize", 1.5),
        ("maxPoolSize", True),
        ("maxPoolSize", [1]),
        ("maxPoolSize", 10**400),
        ("waitQueueTimeoutMS", 0),
        ("maxIdleTimeMS", 0),
        ("connectTimeoutMS", float("inf")),
        ("heartbeatFrequencyMS", 499),
        ("retryWrites", "yes"),
        ("retryWrites", 1),
        ("w", -1),
        ("w", True),
        ("w", ""),
        ("readPreference", "fastest"),
        ("readPreferenceTags", "broken"),
        ("compressors", "lz4"),
        ("compressors", []),
        ("zlibCompressionLevel", 10),
        ("appName", "x" * 129),
        ("appName", "ü" * 65),
        ("uuidRepresentation", "x"),
        ("datetime_conversion", "x"),
        ("document_class", 3),
        ("event_listeners", "x"),
        ("driver", "x"),
        ("server_api", "1"),
        ("tzinfo", "UTC"),
        ("authMechanism", "SCRAM"),
        ("replicaSet", ""),
        ("authSource", ""),
        ("tlsCAFile", 3),
        ("username", ""),
    ],
)
def test_a_bad_value_names_the_option_and_its_source(name: str, value: Any) -> None:
    text = refusal(options={name: value})
    assert text.startswith(name)
    assert "(argument)" in text
    assert "allowed: " in text
    assert len(text) < 400


def test_a_bad_variable_is_named() -> None:
    assert "MONGODB_MAX_POOL_SIZE" in refusal(MONGODB_MAX_POOL_SIZE="many")
    assert "'many'" in refusal(MONGODB_MAX_POOL_SIZE="many")
    assert "MONGODB_RETIRE_AFTER" in refusal(MONGODB_RETIRE_AFTER="-1")


@pytest.mark.parametrize(
    ("connection", "options", "named"),
    [
        ("mongodb://h", {"tlsInsecure": True, "tlsAllowInvalidCertificates": True}, "tlsAllowInvalidCertificates"),
        ("mongodb://h/?tlsInsecure=true", {"tlsAllowInvalidHostnames": False}, "tlsInsecure (URI)"),
        ("mongodb://h", {"tlsAllowInvalidCertificates": True, "tlsDisableOCSPEndpointCheck": True}, "OCSP"),
        ("mongodb://h", {"tlsInsecure": True, "tlsCRLFile": "x"}, "tlsCRLFile"),
        ("mongodb://h", {"tls": False, "tlsCAFile": "x"}, "tlsCAFile"),
        ("mongodb://h", {"tls": False, "tlsInsecure": False}, "tlsInsecure"),
        ("mongodb://a,b", {"directConnection": True}, "directConnection"),
        ("mongodb+srv://c.abc.mongodb.net", {"directConnection": True}, "directConnection"),
        ("mongodb://a,b", {"loadBalanced": True}, "loadBalanced"),
        ("mongodb://a", {"loadBalanced": True, "replicaSet": "r"}, "replicaSet"),
        ("mongodb://a", {"loadBalanced": True, "directConnection": True}, "directConnection"),
        ("mongodb://a", {"srvServiceName": "x"}, "srvServiceName"),
        ("mongodb://a", {"srvMaxHosts": 2}, "srvMaxHosts"),
        ("mongodb+srv://c.abc.mongodb.net", {"srvMaxHosts": 2, "replicaSet": "r"}, "replicaSet"),
        ("mongodb+srv://c.abc.mongodb.net", {"srvMaxHosts": 2, "loadBalanced": True}, "loadBalanced"),
        ("mongodb://a", {"w": 0, "journal": True}, "journal (argument)"),
        ("mongodb://a", {"fsync": True, "journal": True}, "fsync"),
        ("mongodb://a", {"readPreferenceTags": "a:b"}, "tags"),
        ("mongodb://a", {"maxStalenessSeconds": 90}, "maxStalenessSeconds"),
        ("mongodb://a", {"tzinfo": UTC}, "tz_aware"),
        ("mongodb://u@a", {}, "password"),
        ("mongodb://a", {"password": "secret"}, "username"),
        ("mongodb://u:secret@a", {"authMechanism": "MONGODB-X509"}, "X509"),
        ("mongodb://a", {"authMechanism": "SCRAM-SHA-256"}, "username"),
        ("mongodb://a", {"authMechanism": "MONGODB-OIDC"}, "OIDC"),
    ],
)
def test_contradictions_are_reported_before_anything_is_opened(connection: str, options: Any, named: str) -> None:
    text = refusal(connection, options)
    assert named in text
    assert "secret" not in text


def test_what_is_no_connection_is_refused() -> None:
    assert "MONGODB_URI" in refusal(None)
    assert "PoolConfig" in refusal(None)
    assert "bytes" in refusal(b"mongodb://h")
    assert "list" in refusal(["h"])
    assert "mapping" in refusal(options=[("a", 1)])


def test_the_drivers_own_objects_go_their_own_way() -> None:
    listener, info = ServerListener(), DriverInfo("x", "1")
    settings = resolve("mongodb://h", {"event_listeners": [listener], "driver": info}, environ={})
    assert settings.event_listeners == (listener,)
    assert settings.driver is info
    assert not {"event_listeners", "driver", "connect"} & set(settings.client_options)


@pytest.mark.parametrize("name", ["tlsInsecure", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames"])
def test_switched_off_verification_is_a_warning(name: str) -> None:
    assert name in resolve("mongodb://h", {name: True, "tls": True}, environ={}).warnings[0]
    assert resolve("mongodb://h", {name: False}, environ={}).warnings == ()


def test_cosmos_gets_its_warnings() -> None:
    azure = "mongodb://acc:key%3D%3D@acc.mongo.cosmos.azure.com:10255/?ssl=true&replicaSet=globaldb&appName=@acc@"
    assert len(resolve(azure, environ={}).warnings) == 1
    assert len(resolve(f"{azure}&maxIdleTimeMS=300000", environ={}).warnings) == 2
    assert resolve(f"{azure}&retrywrites=false", environ={}).warnings == ()


def test_a_missing_compressor_is_a_warning_and_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymongo.compression_support._have_snappy", lambda: False)
    settings = resolve("mongodb://h/?compressors=snappy,zlib", environ={})
    assert settings.client_options["compressors"] == ["zlib"]
    assert "snappy" in settings.warnings[0]
    assert "compressors" not in resolve("mongodb://h/?compressors=snappy", environ={}).client_options


def test_srv_without_dnspython_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "dnspython" in refusal("mongodb+srv://c.abc.mongodb.net")


def test_pool_config_is_plain_and_holds_both_sizes() -> None:
    settings = resolve(
        "mongodb://u:secret@h", {"read_preference": Secondary(), "document_class": dict}, environ={}
    )
    shown = settings.pool_config
    assert (shown["maxPoolSize"], shown["minPoolSize"]) == (100, 10)
    assert shown["document_class"] == "dict"
    assert "password" not in shown


def test_explain_is_sorted_by_name() -> None:
    names = [row.name for row in resolve("mongodb://u:p1234@h/?w=1", {"journal": True}, environ={}).explain()]
    assert names == sorted(names)
    assert {"username", "password", "w", "journal", "maxPoolSize", "max_threads"} <= set(names)
