"""Logins and TLS against a real server: what is let in, what is refused and why, and what the log warns of."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pymongo.errors import OperationFailure, PyMongoError

from async_mongo_pool import AsyncHealthMonitor, HealthMonitor, PoolConfigurationError
from async_mongo_pool.testing import Certificates, Mongod, TlsFiles, User

from .subjects import Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "p@ss/wo:rd%€-geheim"
KEY_SECRET = "geheim-of-the-key"
CERTIFICATES = Certificates()
CLERK = User("clerk", SECRET)
HOLDER = User(CERTIFICATES.client_subject, None, database="$external")
# Resolves to the server, and is no name that its certificate holds.
OTHER_NAME = "127.1"


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    with Mongod(auth=True, users=[CLERK, HOLDER], tls=CERTIFICATES) as mongod:
        yield mongod


@pytest.fixture
def files(server: Mongod) -> TlsFiles:
    assert server.tls_files is not None
    return server.tls_files


def address(server: Mongod, host: str = "127.0.0.1") -> str:
    return f"mongodb://{host}:{server.port}/"


def told(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    return "".join(traceback.format_exception(error)) + repr(vars(error)) + caplog.text


async def who(subject: Subject, client: Any) -> list[dict[str, str]]:
    status = await subject.call(client.admin.command, "connectionStatus")
    users: list[dict[str, str]] = status["authInfo"]["authenticatedUsers"]
    return users


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
async def test_a_password_lets_in_by_each_mechanism(
    subject: Subject, server: Mongod, files: TlsFiles, mechanism: str
) -> None:
    client = await subject.initialize(
        address(server),
        username="clerk",
        password=SECRET,
        authMechanism=mechanism,
        tls=True,
        tlsCAFile=str(files.ca_file),
    )
    assert await who(subject, client) == [{"user": "clerk", "db": "admin"}]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
async def test_a_wrong_password_names_the_stage_and_the_host(
    subject: Subject, server: Mongod, files: TlsFiles, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OperationFailure, match="in the stage authentication") as raised:
        await subject.initialize(
            address(server),
            username="clerk",
            password=f"{SECRET}-wrong",
            authMechanism=mechanism,
            tls=True,
            tlsCAFile=str(files.ca_file),
        )
    assert raised.value.code == 18
    assert f"127.0.0.1:{server.port}" in str(raised.value)
    assert "geheim" not in told(raised.value, caplog)
    assert subject.pool.get_client() is None


async def test_a_certificate_lets_in(subject: Subject, server: Mongod) -> None:
    client = await subject.initialize(server.uri_for(HOLDER))
    assert await who(subject, client) == [{"user": HOLDER.username, "db": "$external"}]


async def test_a_certificate_of_nobody_is_refused(subject: Subject, server: Mongod) -> None:
    with pytest.raises(OperationFailure, match="in the stage authentication") as raised:
        await subject.initialize(server.uri_for(User("CN=nobody", None, database="$external")))
    assert f"127.0.0.1:{server.port}" in str(raised.value)


@pytest.mark.parametrize("options", [{"tls": True}, {"tls": True, "tlsInsecure": False}])
async def test_an_unknown_authority_is_refused_by_default(
    subject: Subject, server: Mongod, options: dict[str, Any]
) -> None:
    with pytest.raises(PyMongoError, match=r"in the stage TLS.*set tlsCAFile to its authority") as raised:
        await subject.initialize(address(server), timeout=1, **options)
    assert f"127.0.0.1:{server.port}" in str(raised.value)


async def test_a_name_that_the_certificate_does_not_hold_is_refused(
    subject: Subject, server: Mongod, files: TlsFiles
) -> None:
    with pytest.raises(PyMongoError, match=r"in the stage TLS.*for other host names"):
        await subject.initialize(address(server, OTHER_NAME), timeout=1, tls=True, tlsCAFile=str(files.ca_file))


VERIFICATION_OFF: list[tuple[str, dict[str, Any]]] = [
    ("127.0.0.1", {"tlsInsecure": True}),
    ("127.0.0.1", {"tlsAllowInvalidCertificates": True}),
    (OTHER_NAME, {"tlsAllowInvalidHostnames": True}),
]


@pytest.mark.parametrize(("host", "options"), VERIFICATION_OFF)
async def test_verification_switched_off_is_warned_of_at_each_opening(
    subject: Subject,
    server: Mongod,
    files: TlsFiles,
    host: str,
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    options = {"tls": True, "username": "clerk", "password": SECRET, **options}
    if host == OTHER_NAME:
        options["tlsCAFile"] = str(files.ca_file)
    client = await subject.initialize(address(server, host), **options)
    assert (await subject.call(ping, client))["ok"] == 1
    assert await subject.initialize(address(server, host), **options) is client
    (warning,) = [record for record in caplog.records if "verification is switched off" in record.message]
    assert warning.levelno == logging.WARNING
    assert subject.name in warning.message
    assert next(name for name in options if name.startswith(("tlsI", "tlsA"))) in warning.message
    await subject.call(subject.pool.rotate)
    assert caplog.text.count("verification is switched off") == 2


async def test_verified_tls_is_not_warned_of(
    subject: Subject, server: Mongod, files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    await subject.initialize(
        address(server), username="clerk", password=SECRET, tls=True, tlsCAFile=str(files.ca_file)
    )
    ours = [record for record in caplog.records if record.name.startswith("async_mongo_pool")]
    assert not [record.message for record in ours if "TLS" in record.message]


@pytest.fixture
def locked_file(files: TlsFiles, tmp_path: Path) -> Path:
    """The client's key and certificate, the key encrypted."""
    content = files.client_file.read_bytes()
    begin = content.index(b"-----BEGIN CERTIFICATE")
    key = load_pem_private_key(content[:begin], None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(KEY_SECRET.encode()))
    path = tmp_path / "locked.pem"
    path.write_bytes(locked + content[begin:])
    return path


def with_key_file(files: TlsFiles, path: Path) -> dict[str, Any]:
    return {
        "authMechanism": "MONGODB-X509",
        "tls": True,
        "tlsCAFile": str(files.ca_file),
        "tlsCertificateKeyFile": str(path),
    }


async def test_the_password_of_a_key_file_opens_it(
    subject: Subject, server: Mongod, files: TlsFiles, locked_file: Path
) -> None:
    options = {**with_key_file(files, locked_file), "tlsCertificateKeyFilePassword": KEY_SECRET}
    client = await subject.initialize(address(server), **options)
    assert await who(subject, client) == [{"user": HOLDER.username, "db": "$external"}]
    # The driver's own repr shows every option but the password of the user.
    for shown in (repr(client), repr(client.db.collection), str(subject.pool.explain()), repr(subject.pool())):
        assert KEY_SECRET not in shown


async def test_a_wrong_password_of_a_key_file_is_said_clearly(
    subject: Subject, server: Mongod, files: TlsFiles, locked_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**with_key_file(files, locked_file), "tlsCertificateKeyFilePassword": f"{KEY_SECRET}-wrong"}
    with pytest.raises(PyMongoError, match=r"in the stage TLS.*tlsCertificateKeyFilePassword") as raised:
        await subject.initialize(address(server), **options)
    assert "geheim" not in told(raised.value, caplog)


async def test_a_locked_key_file_without_its_password_asks_nobody(
    subject: Subject, server: Mongod, files: TlsFiles, locked_file: Path
) -> None:
    with pytest.raises(PoolConfigurationError, match="give tlsCertificateKeyFilePassword too"):
        await subject.initialize(address(server), **with_key_file(files, locked_file))


def logged_errors(caplog: pytest.LogCaptureFixture, text: str) -> list[BaseException]:
    found = [record.exc_info for record in caplog.records if text in record.getMessage()]
    return [error for _, error, _ in filter(None, found) if error is not None]


def shown_with_variables(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def failing(*_: Any) -> None:
    held = f"the hook knows {SECRET}"
    raise ValueError(held)


async def test_a_hook_that_tells_the_password_tells_it_not_to_the_log(
    subject: Subject, server: Mongod, files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"username": "clerk", "password": SECRET, "tls": True, "tlsCAFile": str(files.ca_file)}
    client = await subject.initialize(address(server), **options, on_replace=failing)
    assert await subject.call(subject.pool.rotate) is not client
    (logged,) = logged_errors(caplog, "on_replace failed")
    assert str(logged) == "the hook knows ***"
    assert "failing" in shown_with_variables(logged)
    assert "geheim" not in shown_with_variables(logged) + caplog.text


async def test_a_monitors_hook_tells_it_neither(
    subject: Subject,
    server: Mongod,
    files: TlsFiles,
    caplog: pytest.LogCaptureFixture,
    wait_until_async: Callable[..., Any],
) -> None:
    options = {"username": "clerk", "password": SECRET, "tls": True, "tlsCAFile": str(files.ca_file)}
    await subject.initialize(address(server), **options)
    kind: Any = AsyncHealthMonitor if subject.is_async else HealthMonitor
    monitor = kind(subject.pool, interval=0.05, on_change=failing)
    await subject.call(monitor.start)
    try:
        await wait_until_async(lambda: logged_errors(caplog, "on_change failed"), timeout=20)
    finally:
        await subject.call(monitor.stop)
    logged = logged_errors(caplog, "on_change failed")[0]
    assert str(logged) == "the hook knows ***"
    assert "failing" in shown_with_variables(logged)
    assert "geheim" not in shown_with_variables(logged)
