"""Tables of names and sentences: spellings, aliases, kinds of values, answers for options of older guides."""

from __future__ import annotations

import re

__all__ = [
    "ALIASES",
    "ALLOWED",
    "ANSWERS",
    "CALLED",
    "COMPRESSORS",
    "ENVIRONMENT_OPTIONS",
    "HOLDS_SECRETS",
    "KEYWORD_ONLY",
    "MILLISECONDS",
    "POOL_OPTIONS",
    "SAFE_MECHANISM_PROPERTIES",
    "SECRET_NAME",
    "SPELLINGS",
    "SRV_ONLY",
    "VERIFICATION_OFF",
    "WHOLE_NUMBERS",
]

# The driver keeps most names in lower case only; these are the spellings of its manual.
SPELLINGS = (
    "appName",
    "authMechanism",
    "authMechanismProperties",
    "authSource",
    "authOIDCAllowedHosts",
    "auto_encryption_opts",
    "compressors",
    "connect",
    "connectTimeoutMS",
    "datetime_conversion",
    "directConnection",
    "document_class",
    "driver",
    "enableOverloadRetargeting",
    "event_listeners",
    "fsync",
    "heartbeatFrequencyMS",
    "journal",
    "loadBalanced",
    "localThresholdMS",
    "maxAdaptiveRetries",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "password",
    "readConcernLevel",
    "readPreference",
    "readPreferenceTags",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "server_api",
    "server_selector",
    "serverMonitoringMode",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "srvAllowedHostsSuffix",
    "srv_host_validator",
    "srvMaxHosts",
    "srvServiceName",
    "timeoutMS",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
    "tlsCRLFile",
    "tlsDisableOCSPEndpointCheck",
    "tlsInsecure",
    "type_registry",
    "tz_aware",
    "tzinfo",
    "unicode_decode_error_handler",
    "username",
    "uuidRepresentation",
    "w",
    "waitQueueTimeoutMS",
    "wTimeoutMS",
    "zlibCompressionLevel",
)

ALIASES = {"ssl": "tls"}

# Ours, not the driver's: how the pool runs around the client.
POOL_OPTIONS = {
    "maxthreads": "max_threads",
    "maxwaiting": "max_waiting",
    "slowcheckoutms": "slow_checkout_ms",
    "slowcheckoutstack": "slow_checkout_stack",
    "commandstats": "command_stats",
    "slowcommandms": "slow_command_ms",
    "heartbeatstats": "heartbeat_stats",
    "retireafter": "retire_after",
    "retirelimit": "retire_limit",
    "onreplace": "on_replace",
}

# The driver takes these as keyword arguments only; in a connection string it drops them with a warning.
KEYWORD_ONLY = frozenset(
    [
        "documentclass",
        "typeregistry",
        "eventlisteners",
        "tzinfo",
        "username",
        "password",
        "serverselector",
        "srvhostvalidator",
        "autoencryptionopts",
        "authoidcallowedhosts",
        "driver",
        "serverapi",
    ]
)

WHOLE_NUMBERS = frozenset(
    [
        "maxpoolsize",
        "minpoolsize",
        "maxconnecting",
        "wtimeoutms",
        "srvmaxhosts",
        "maxstalenessseconds",
        "zlibcompressionlevel",
        "maxadaptiveretries",
    ]
)
MILLISECONDS = frozenset(
    [
        "connecttimeoutms",
        "heartbeatfrequencyms",
        "maxidletimems",
        "serverselectiontimeoutms",
        "sockettimeoutms",
        "waitqueuetimeoutms",
        "timeoutms",
        "localthresholdms",
    ]
)

# Sizes, time limits and behaviour only: never an address or a credential.
ENVIRONMENT_OPTIONS = (
    "maxPoolSize",
    "minPoolSize",
    "maxConnecting",
    "maxIdleTimeMS",
    "waitQueueTimeoutMS",
    "serverSelectionTimeoutMS",
    "connectTimeoutMS",
    "socketTimeoutMS",
    "timeoutMS",
    "heartbeatFrequencyMS",
    "localThresholdMS",
    "retryWrites",
    "retryReads",
    "w",
    "journal",
    "wTimeoutMS",
    "readConcernLevel",
    "readPreference",
    "maxStalenessSeconds",
    "compressors",
    "zlibCompressionLevel",
    "appName",
    "serverMonitoringMode",
    "maxAdaptiveRetries",
    "enableOverloadRetargeting",
    "max_threads",
    "max_waiting",
    "slow_checkout_ms",
    "slow_checkout_stack",
    "command_stats",
    "slow_command_ms",
    "heartbeat_stats",
    "retire_after",
    "retire_limit",
)

COMPRESSORS = ("snappy", "zlib", "zstd")
SRV_ONLY = ("srvservicename", "srvmaxhosts", "srvallowedhostssuffix", "srvhostvalidator")
VERIFICATION_OFF = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")

SECRET_NAME = re.compile(r"password|passwd|passphrase|secret|token|credential|apikey")
# Objects of the user's that the driver or the pool calls.
CALLED = frozenset({"onreplace", "eventlisteners", "serverselector", "srvhostvalidator"})
HOLDS_SECRETS = frozenset({"authmechanismproperties", "autoencryptionopts"})
# The list of the driver's own repr (PyMongo 4.18); everything else may be a token.
SAFE_MECHANISM_PROPERTIES = frozenset(
    [
        "ALLOWED_HOSTS",
        "CANONICALIZE_HOST_NAME",
        "ENVIRONMENT",
        "SERVICE_HOST",
        "SERVICE_NAME",
        "SERVICE_REALM",
        "TOKEN_RESOURCE",
    ]
)

_ABOVE_ZERO = "a number of milliseconds above 0 and below one billion"
_ZERO_IS_NO_LIMIT = "0 (no limit) or a number of milliseconds below one billion"
_WHOLE = "a whole number, 0 or greater"
ALLOWED = {
    "maxpoolsize": "a whole number, 0 (no limit) or greater",
    "minpoolsize": _WHOLE,
    "maxconnecting": "a whole number greater than 0",
    "wtimeoutms": "a whole number of milliseconds, 0 or greater",
    "srvmaxhosts": _WHOLE,
    "maxadaptiveretries": _WHOLE,
    "maxstalenessseconds": "-1 (no limit) or a whole number of seconds greater than 0",
    "zlibcompressionlevel": "a whole number from -1 to 9",
    "connecttimeoutms": _ZERO_IS_NO_LIMIT,
    "sockettimeoutms": _ZERO_IS_NO_LIMIT,
    "serverselectiontimeoutms": "0 or a number of milliseconds below one billion",
    "timeoutms": _ZERO_IS_NO_LIMIT,
    "localthresholdms": "0 or a number of milliseconds below one billion",
    "heartbeatfrequencyms": "a number of milliseconds, 500 or greater",
    "maxidletimems": _ABOVE_ZERO,
    "waitqueuetimeoutms": _ABOVE_ZERO,
    "readpreference": "primary, primaryPreferred, secondary, secondaryPreferred, nearest or an object",
    "readpreferencetags": 'strings such as "dc:ny,rack:1"; "" matches any member',
    "authmechanismproperties": "NAME:value pairs with commas between them, or a dictionary, of known names",
    "compressors": "one or more of snappy, zlib, zstd",
    "w": 'a whole number, 0 or greater, "majority", or the name of a tag set',
    "datetimeconversion": "datetime, datetime_ms, datetime_auto or datetime_clamp in capitals, or its number",
    "serverapi": "a pymongo.server_api.ServerApi object",
    "typeregistry": "a bson.codec_options.TypeRegistry object",
    "autoencryptionopts": "a pymongo.encryption_options.AutoEncryptionOpts object",
    "authsource": "the name of a database, not empty",
    "replicaset": "the name of a replica set, not empty",
    "tlscafile": "the path of a file, as a string",
    "tlscrlfile": "the path of a file, as a string",
    "tlscertificatekeyfile": "the path of a file, as a string",
    "eventlisteners": "a list of pymongo.monitoring listeners",
    "username": "a string, not empty",
    "password": "a string",
    "tlscertificatekeyfilepassword": "a string",
}

_TLS_OPTIONS = "use tls=True with tlsCAFile, tlsCertificateKeyFile and tlsCertificateKeyFilePassword"
_ADDRESS = "give the address in the connection string or with PoolConfig.local(host, port)"
_SIZE = "use maxPoolSize and minPoolSize"
_DATABASE = "name the database in the connection string (mongodb://host/name) or as PoolConfig.database_name"
_FIRST = "the connection string is the first argument"
ANSWERS = {
    "writeconcern": "use w, wTimeoutMS and journal",
    "readconcern": "use readConcernLevel",
    "sslcontext": _TLS_OPTIONS,
    "sslcacerts": "use tlsCAFile",
    "sslcafile": "use tlsCAFile",
    "sslcertfile": "use tlsCertificateKeyFile",
    "sslkeyfile": "use tlsCertificateKeyFile (one file with the certificate and the key)",
    "sslpemfile": "use tlsCertificateKeyFile",
    "sslpempassphrase": "use tlsCertificateKeyFilePassword",
    "sslpassword": "use tlsCertificateKeyFilePassword",
    "sslcrlfile": "use tlsCRLFile",
    "sslcertreqs": "use tlsAllowInvalidCertificates",
    "sslmatchhostname": "use tlsAllowInvalidHostnames",
    "tlscontext": _TLS_OPTIONS,
    "host": _ADDRESS,
    "port": _ADDRESS,
    "hosts": _ADDRESS,
    "uri": _FIRST,
    "url": _FIRST,
    "mongouri": _FIRST,
    "connectionstring": _FIRST,
    "user": "use username",
    "database": _DATABASE,
    "databasename": _DATABASE,
    "dbname": _DATABASE,
    "authdatabase": "use authSource",
    "authenticationdatabase": "use authSource",
    "replset": "use replicaSet",
    "wtimeout": "use wTimeoutMS (milliseconds)",
    "j": "use journal",
    "ioloop": "not needed, the pool serves every event loop",
    "loop": "not needed, the pool serves every event loop",
    "connect": "initialize always connects; use configure() to connect at the first use",
    "waitqueuemultiple": "the driver removed it; waitQueueTimeoutMS bounds the wait",
    "socketkeepalive": "the driver removed it; connections are always kept alive",
    "autostartrequest": "the driver removed it",
    "maxoverflow": f"{_SIZE}; maxPoolSize is the hard limit",
    "poolsize": _SIZE,
    "maxconnections": _SIZE,
    "minconnections": _SIZE,
    "maxsize": _SIZE,
    "minsize": _SIZE,
    "pooltimeout": "use waitQueueTimeoutMS (milliseconds)",
    "poolrecycle": "use maxIdleTimeMS (milliseconds)",
    "poolpreping": "not needed, the driver checks idle connections itself",
}
