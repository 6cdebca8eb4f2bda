"""What the options mean to each other: defaults that bend, and contradictions that are refused.

The driver reports a contradiction when a client is built, one at a time and without saying where the options came
from; here both sources are named, before anything is opened.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from pymongo import auth_shared, common
from pymongo.read_preferences import make_read_preference, read_pref_mode_from_name

from async_mongo_pool.config.options import missing_compressors, spelling
from async_mongo_pool.config.vocabulary import SRV_ONLY, VERIFICATION_OFF
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from async_mongo_pool.config.redaction import Secret
    from async_mongo_pool.config.sources import Setting
    from async_mongo_pool.config.uri import ConnectionString

__all__ = ["bend", "refuse_contradictions", "warnings_for"]

_TLS_INSECURE_SETS = ("tlsallowinvalidcertificates", "tlsallowinvalidhostnames", "tlsdisableocspendpointcheck")
_TLS_FILES = ("tlscertificatekeyfile", "tlscertificatekeyfilepassword", "tlscafile", "tlscrlfile")
_CODEC = {
    "documentclass": "document_class",
    "tzaware": "tz_aware",
    "uuidrepresentation": "uuid_representation",
    "unicodedecodeerrorhandler": "unicode_decode_error_handler",
    "tzinfo": "tzinfo",
    "typeregistry": "type_registry",
}


def bend(settings: dict[str, Setting]) -> dict[str, Setting]:
    """Let what the library set give way to what the user set.

    Args:
        settings: The options in force, by key; not changed.

    Returns:
        The options in force afterwards.

    Raises:
        PoolConfigurationError: The user set both sides, and they contradict each other.
    """
    bent = dict(settings)
    # No limit fits every minimum.
    if bent["maxpoolsize"].value != 0:
        _order(bent, "minpoolsize", "maxpoolsize")
    _order(bent, "retireafter", "retirelimit")
    if "timeoutms" in bent and bent["timeoutms"].by_user:
        _step_aside(bent, "sockettimeoutms", "waitqueuetimeoutms")
    if bent.get("w") is not None and bent["w"].value == 0:
        _step_aside(bent, "journal")
    if "fsync" in bent and bent["fsync"].value:
        _step_aside(bent, "journal")
    return _with_one_read_preference(bent)


def _order(settings: dict[str, Setting], low: str, high: str) -> None:
    lower, upper = settings[low], settings[high]
    if lower.value <= upper.value:
        return
    if lower.by_user and upper.by_user:
        raise PoolConfigurationError.contradiction(f"{_named(lower)} is above {_named(upper)}")
    if upper.by_user:
        settings[low] = _bent(lower, upper, "lowered")
    else:
        settings[high] = _bent(upper, lower, "raised")


def _bent(setting: Setting, to: Setting, how: str) -> Setting:
    source = f"{setting.source}, {how} to {spelling(to.key)}"
    return dataclasses.replace(setting, value=to.value, normal=to.normal, source=source)


def _step_aside(settings: dict[str, Setting], *keys: str) -> None:
    for key in keys:
        if key in settings and not settings[key].by_user:
            del settings[key]


def _with_one_read_preference(settings: dict[str, Setting]) -> dict[str, Setting]:
    """An object carries its own tags and staleness; the driver would silently ignore the separate options."""
    preference = settings.get("readpreference")
    if preference is None or isinstance(preference.value, str):
        return settings
    for key in ("readpreferencetags", "maxstalenessseconds"):
        extra = settings.get(key)
        if extra is None:
            continue
        if extra.rank == preference.rank:
            raise PoolConfigurationError.contradiction(f"a read preference object holds its own {spelling(key)}")
        settings = {name: each for name, each in settings.items() if name != key}
    return settings


def refuse_contradictions(
    settings: dict[str, Setting], address: ConnectionString, username: str | None, password: Secret[str] | None
) -> None:
    """Report what the driver would report when the client is built.

    Raises:
        PoolConfigurationError: Two options exclude each other, or one does not fit the address or the credentials.
    """
    values = {key: each.value for key, each in settings.items()}
    for found in (
        _tls_problem(values),
        _topology_problem(values, address),
        _write_concern_problem(values),
        _read_preference_problem(values),
        _codec_problem(settings),
        _credentials_problem(values, username, password, address.database),
    ):
        if found:
            raise PoolConfigurationError.contradiction(_with_sources(found, settings))


def _with_sources(reason: str, settings: dict[str, Setting]) -> str:
    named = [each for each in settings.values() if spelling(each.key) in reason.replace(",", " ").split()]
    origins = ", ".join(f"{spelling(each.key)} ({each.source})" for each in named)
    return f"{reason} [{origins}]" if origins else reason


def _named(setting: Setting) -> str:
    return f"{spelling(setting.key)}={setting.value} ({setting.source})"


def _tls_problem(values: dict[str, Any]) -> str | None:
    for key in _TLS_INSECURE_SETS:
        if "tlsinsecure" in values and key in values:
            return f"tlsInsecure already sets {spelling(key)} , give one of them"
    if "tlsallowinvalidcertificates" in values and "tlsdisableocspendpointcheck" in values:
        return "tlsAllowInvalidCertificates excludes tlsDisableOCSPEndpointCheck"
    for key in ("tlsinsecure", "tlsallowinvalidcertificates", "tlsdisableocspendpointcheck"):
        if "tlscrlfile" in values and values.get(key):
            return f"tlsCRLFile excludes {spelling(key)}"
    if values.get("tls") is False:
        implied = [key for key in _TLS_FILES if values.get(key)]
        implied += [key for key in ("tlsinsecure", *_TLS_INSECURE_SETS) if values.get(key) is False]
        if implied:
            return f"tls is off, but {spelling(implied[0])} needs it"
    return None


def _topology_problem(values: dict[str, Any], address: ConnectionString) -> str | None:
    srv, several = address.scheme == "mongodb+srv", len(address.hosts) > 1
    direct, balanced = values.get("directconnection"), values.get("loadbalanced")
    misplaced = [key for key in SRV_ONLY if key in values and not srv]
    # srvMaxHosts=0 means "all" and the driver takes it for any scheme.
    misplaced = [key for key in misplaced if key != "srvmaxhosts" or values[key]]
    rules = (
        (direct and several, "directConnection takes one host, and several are given"),
        (direct and srv, "directConnection excludes mongodb+srv:// addresses"),
        (balanced and several, "loadBalanced takes one host, and several are given"),
        (balanced and direct, "loadBalanced excludes directConnection"),
        (balanced and "replicaset" in values, "loadBalanced excludes replicaSet"),
        (balanced and values.get("srvmaxhosts"), "loadBalanced excludes srvMaxHosts"),
        ("replicaset" in values and values.get("srvmaxhosts"), "replicaSet excludes srvMaxHosts"),
        (
            "srvhostvalidator" in values and "srvallowedhostssuffix" in values,
            "srv_host_validator excludes srvAllowedHostsSuffix",
        ),
        (misplaced, f"{spelling((*misplaced, 'srv')[0])} is for mongodb+srv:// addresses"),
    )
    return next((reason for broken, reason in rules if broken), None)


def _write_concern_problem(values: dict[str, Any]) -> str | None:
    if values.get("w") == 0 and values.get("journal"):
        return "w is 0 (nothing is acknowledged), but journal asks for an acknowledgement"
    if values.get("fsync") and values.get("journal"):
        return "fsync excludes journal"
    return None


def _read_preference_problem(values: dict[str, Any]) -> str | None:
    mode = values.get("readpreference", "primary")
    if not isinstance(mode, str):
        return None
    tags = values.get("readpreferencetags")
    parsed = None if tags is None else common.validate_read_preference_tags("readPreferenceTags", tags)
    try:
        make_read_preference(read_pref_mode_from_name(mode), parsed, values.get("maxstalenessseconds", -1))
    except Exception as error:  # the driver uses three exception classes for this
        return str(error)
    return None


def _codec_problem(settings: dict[str, Setting]) -> str | None:
    arguments = {name: settings[key].value for key, name in _CODEC.items() if key in settings}
    if "uuid_representation" in arguments:
        arguments["uuid_representation"] = common.validate_uuid_representation(
            "", arguments["uuid_representation"]
        )
    try:
        CodecOptions(**arguments)
    except Exception as error:  # document classes are foreign code
        return str(error)
    return None


def _credentials_problem(
    values: dict[str, Any], username: str | None, password: Secret[str] | None, database: str | None
) -> str | None:
    mechanism = values.get("authmechanism", "DEFAULT" if username else None)
    if mechanism is None:
        return "a password is given without a username" if password else None
    # Private, the same in PyMongo 4.14 to 4.20; without it the driver reports when the client is built.
    build = getattr(auth_shared, "_build_credentials_tuple", None)
    if build is None:
        return None
    extra = {"authmechanismproperties": values.get("authmechanismproperties", {})}
    secret = password.reveal() if password else None
    try:
        build(mechanism, values.get("authsource"), username, secret, extra, database)
    except Exception as error:  # configuration, value and type errors, and those of optional packages
        return f"the credentials do not fit authMechanism {mechanism}: {error}"
    return None


def warnings_for(settings: dict[str, Setting], address: ConnectionString) -> tuple[str, ...]:
    """Return sentences about what works but a person should look at."""
    found = []
    off = [spelling(key) for key in VERIFICATION_OFF if key in settings and settings[key].value]
    if off:
        found.append(
            f"TLS verification is switched off ({', '.join(off)}): the connection is encrypted, but anybody can "
            "pose as the server. Use tlsCAFile for a private certificate authority."
        )
    if "compressors" in settings and (absent := missing_compressors(settings["compressors"].value)):
        found.append(
            f"Compression with {', '.join(absent)} is not available, its package is not installed: "
            f'pip install "pymongo[{",".join(absent)}]".'
        )
    if any(host.name.endswith(".cosmos.azure.com") for host in address.hosts):
        found.extend(_cosmos(settings))
    return tuple(found)


def _cosmos(settings: dict[str, Setting]) -> list[str]:
    found = []
    if not settings["retrywrites"].by_user:
        found.append("Azure Cosmos DB (RU) refuses retryable writes: set retryWrites=false.")
    if settings["maxidletimems"].value > 120_000:
        found.append("Azure Cosmos DB drops connections that are idle for minutes: set maxIdleTimeMS=120000.")
    return found
