"""Option by option: which of the five sources wins, and how the winner is named."""

from __future__ import annotations

from typing import Any

import pytest

from async_mongo_pool.config import ClientSettings, resolve
from async_mongo_pool.config.sources import DEFAULTS, PRESETS, upper_snake
from async_mongo_pool.config.vocabulary import ENVIRONMENT_OPTIONS

pytestmark = pytest.mark.core

# name: one value per source (environment, URI, argument), as the driver gets it.
VALUES: dict[str, tuple[Any, Any, Any]] = {
    "maxPoolSize": (601, 602, 603),
    "minPoolSize": (3, 4, 5),
    "maxConnecting": (3, 4, 5),
    "maxIdleTimeMS": (1001, 1002, 1003),
    "waitQueueTimeoutMS": (1001, 1002, 1003),
    "serverSelectionTimeoutMS": (1001, 1002, 1003),
    "connectTimeoutMS": (1001, 1002, 0),
    "socketTimeoutMS": (1001, 1002, 0),
    "timeoutMS": (1001, 1002, 1003),
    "heartbeatFrequencyMS": (1001, 1002, 1003),
    "localThresholdMS": (11, 12, 13),
    "retryWrites": (False, True, False),
    "retryReads": (False, True, False),
    "w": (1, "majority", 2),
    "journal": (False, True, False),
    "wTimeoutMS": (101, 102, 103),
    "readConcernLevel": ("local", "majority", "available"),
    "readPreference": ("nearest", "secondary", "primaryPreferred"),
    "compressors": (["zlib"], ["zlib"], ["zlib"]),
    "zlibCompressionLevel": (1, 2, 3),
    "appName": ("from environment", "from uri", "from argument"),
    "serverMonitoringMode": ("poll", "stream", "auto"),
}
URI_ONLY_PAIRS: dict[str, tuple[Any, Any]] = {
    "tls": (True, False),
    "directConnection": (True, False),
    "replicaSet": ("rs0", "rs1"),
    "authSource": ("a", "b"),
    "tz_aware": (True, False),
    "uuidRepresentation": ("standard", "pythonLegacy"),
    "datetime_conversion": ("DATETIME_MS", "DATETIME_AUTO"),
    "unicode_decode_error_handler": ("replace", "ignore"),
    "fsync": (True, False),
}
OURS = {
    "max_threads": (7, 9),
    "max_waiting": (0, 500),
    "slow_checkout_ms": (250.0, 1000.0),
    "slow_checkout_stack": (True, False),
    "command_stats": (True, False),
    "slow_command_ms": (100.0, 2500.0),
    "heartbeat_stats": (True, False),
    "retire_after": (2.5, 4.0),
    "retire_limit": (40.0, 50.0),
}
WITH_PRESET = [(preset, name) for preset, options in PRESETS.items() for name in options]


def text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def source(settings: ClientSettings, name: str) -> str:
    return next(row.source for row in settings.explain() if row.name == name)


def resolved(
    name: str, *, environment: Any = None, uri: Any = None, argument: Any = None, preset: Any = None
) -> Any:
    environ = {} if environment is None else {f"MONGODB_{upper_snake(name)}": text(environment)}
    address = "mongodb://h/" + ("" if uri is None else f"?{name}={text(uri)}")
    return resolve(address, {} if argument is None else {name: argument}, preset=preset, environ=environ)


def test_the_defaults_are_those_of_the_table() -> None:
    settings = resolve("mongodb://h", environ={})
    assert dict(settings.client_options) == {
        "maxPoolSize": 100,
        "minPoolSize": 10,
        "maxIdleTimeMS": 30000,
        "waitQueueTimeoutMS": 5000,
        "serverSelectionTimeoutMS": 5000,
        "connectTimeoutMS": 10000,
        "socketTimeoutMS": 30000,
        "retryWrites": True,
        "retryReads": True,
    }
    assert {row.source for row in settings.explain()} == {"default"}
    options = settings.pool_options
    assert (options.max_threads, options.retire_after, options.retire_limit, options.on_replace) == (
        512,
        30,
        300,
        None,
    )


@pytest.mark.parametrize(("preset", "name"), WITH_PRESET)
def test_a_preset_beats_a_default(preset: str, name: str) -> None:
    settings = resolved(name, preset=preset)
    assert settings.value(name) == PRESETS[preset][name]
    assert source(settings, name) == f"preset {preset}"


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_the_environment_beats_presets_and_defaults(name: str, preset: str | None) -> None:
    settings = resolved(name, environment=VALUES[name][0], preset=preset)
    assert settings.value(name) == VALUES[name][0]
    assert source(settings, name) == f"environment MONGODB_{upper_snake(name)}"


@pytest.mark.parametrize("name", VALUES)
def test_the_uri_beats_the_environment_preset_and_default(name: str) -> None:
    settings = resolved(name, environment=VALUES[name][0], uri=VALUES[name][1], preset="production")
    assert settings.value(name) == VALUES[name][1]
    assert settings.client_options[name] == VALUES[name][1]
    assert source(settings, name) == "URI"


@pytest.mark.parametrize("name", VALUES)
def test_an_argument_beats_everything(name: str) -> None:
    environment, uri, argument = VALUES[name]
    settings = resolved(name, environment=environment, uri=uri, argument=argument, preset="production")
    assert settings.value(name) == argument
    assert type(settings.value(name)) is type(argument)
    assert source(settings, name) == "argument"


@pytest.mark.parametrize("name", URI_ONLY_PAIRS)
def test_options_that_no_single_variable_may_set(name: str) -> None:
    uri, argument = URI_ONLY_PAIRS[name]
    variable = {f"MONGODB_{upper_snake(name)}": text(uri)}
    assert resolve("mongodb://h", environ=variable).value(name) is None
    assert resolved(name, uri=uri).value(name) in (uri, text(uri))
    assert resolved(name, uri=uri, argument=argument).value(name) == argument


@pytest.mark.parametrize("name", OURS)
def test_our_own_options_come_from_arguments_and_the_environment(name: str) -> None:
    environment, argument = OURS[name]
    settings = resolved(name, environment=environment)
    assert getattr(settings.pool_options, name) == environment
    assert source(settings, name) == f"environment MONGODB_{upper_snake(name)}"
    settings = resolved(name, environment=environment, argument=argument)
    assert getattr(settings.pool_options, name) == argument
    assert name not in settings.client_options
    assert settings.pool_config[name] == argument


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name in VALUES])
def test_none_means_not_given(name: str) -> None:
    assert resolve("mongodb://h", {name: None}, environ={}).value(name) == DEFAULTS[name]
    assert resolved(name, uri=VALUES[name][1]).value(name) == VALUES[name][1]
    assert (
        resolve(f"mongodb://h/?{name}={text(VALUES[name][1])}", {name: None}, environ={}).value(name) is not None
    )


def test_the_table_names_every_variable_that_all_supported_drivers_know() -> None:
    newer = {"maxAdaptiveRetries", "enableOverloadRetargeting", "maxStalenessSeconds"}
    assert set(ENVIRONMENT_OPTIONS) == {*VALUES, *OURS, *newer}


def test_an_empty_variable_is_not_set_and_a_foreign_one_is_ignored() -> None:
    environ = {"MONGODB_MAX_POOL_SIZE": "", "MONGODB_VERSION": "7", "MONGODB_PASSWORD": "x", "MONGODB_TLS": "no"}
    settings = resolve("mongodb://h", environ=environ)
    assert settings == resolve("mongodb://h", environ={})


def test_spaces_around_a_variable_and_the_case_of_a_boolean_do_not_matter() -> None:
    environ = {"MONGODB_APP_NAME": " shop\n", "MONGODB_RETRY_WRITES": " FALSE "}
    settings = resolve("mongodb://h", environ=environ)
    assert settings.value("appName") == "shop"
    assert settings.value("retryWrites") is False


def test_without_a_connection_the_variable_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://from-environment/?maxPoolSize=50")
    monkeypatch.setenv("MONGODB_MIN_POOL_SIZE", "7")
    settings = resolve(None)
    assert settings.uri == "mongodb://from-environment:27017/"
    assert (settings.value("maxPoolSize"), settings.value("minPoolSize")) == (50, 7)


def test_the_order_of_the_sources_is_strict() -> None:
    wins = ["default", "preset production", "environment MONGODB_MAX_POOL_SIZE", "URI", "argument"]
    given: list[dict[str, Any]] = [{"preset": "production"}, {"environment": 601}, {"uri": 602}, {"argument": 603}]
    seen = []
    for count in range(len(given) + 1):
        merged = {name: value for each in given[:count] for name, value in each.items()}
        seen.append(source(resolved("maxPoolSize", **merged), "maxPoolSize"))
    assert seen == wins
