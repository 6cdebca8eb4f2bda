"""Mechanisms and compressors whose packages do not come with the driver: configured, and refused by name."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from pymongo import MongoClient

from async_mongo_pool import PoolConfig, PoolConfigurationError
from async_mongo_pool.config import resolve

from .subjects import Subject, ping

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "geheim-session+token/=="
KEY = "geheim-access/key+"

AWS: list[tuple[str, dict[str, Any]]] = [
    (
        (
            f"mongodb://AKIA:{quote(KEY, safe='')}@h/?authMechanism=MONGODB-AWS&authMechanismProperties="
            f"AWS_SESSION_TOKEN:{quote(TOKEN, safe='')}"
        ),
        {},
    ),
    (
        "mongodb://h/",
        {
            "username": "AKIA",
            "password": KEY,
            "authMechanism": "MONGODB-AWS",
            "authMechanismProperties": {"AWS_SESSION_TOKEN": TOKEN},
        },
    ),
    (
        "mongodb://h/?authMechanism=MONGODB-AWS",
        # As text the driver decodes it, also where it is an argument.
        {"username": "AKIA", "password": KEY, "authMechanismProperties": f"AWS_SESSION_TOKEN:{quote(TOKEN)}"},
    ),
]

needs_absent_aws = pytest.mark.skipif(
    importlib.util.find_spec("pymongo_auth_aws") is not None, reason="pymongo-auth-aws is installed"
)
needs_absent_kerberos = pytest.mark.skipif(
    importlib.util.find_spec("kerberos") is not None or importlib.util.find_spec("winkerberos") is not None,
    reason="a package for Kerberos is installed",
)


@pytest.mark.core
@pytest.mark.parametrize(("uri", "options"), AWS)
def test_aws_credentials_reach_the_driver_and_nobody_else(uri: str, options: dict[str, Any]) -> None:
    settings = resolve(uri, options, environ={})
    client: MongoClient[Any] = MongoClient(settings.uri, connect=False, **settings.client_options)
    credentials = client.options.pool_options._credentials
    assert credentials is not None
    assert (credentials.mechanism, credentials.source) == ("MONGODB-AWS", "$external")
    assert (credentials.username, credentials.password) == ("AKIA", KEY)
    assert credentials.mechanism_properties.aws_session_token == TOKEN
    shown = f"{settings!r} {settings.explain()} {settings.pool_config} {settings.client_options} {client!r}"
    assert "geheim" not in shown
    client.close()


@pytest.mark.core
@needs_absent_aws
@pytest.mark.parametrize(("uri", "options"), AWS)
async def test_aws_without_its_package_says_what_to_install(
    subject: Subject, uri: str, options: dict[str, Any]
) -> None:
    wanted = r'authMechanism=MONGODB-AWS needs a package that is not installed: pip install "pymongo\[aws\]"'
    for connection in (uri, PoolConfig(mongo_uri=uri), lambda: uri):
        with pytest.raises(PoolConfigurationError, match=wanted) as raised:
            await subject.initialize(connection, **options)
        assert "geheim" not in str(raised.value)
    with pytest.raises(PoolConfigurationError, match=wanted):
        subject.pool.configure(uri, **options)
    assert subject.pool.get_client() is None


@needs_absent_kerberos
async def test_kerberos_without_its_package_says_what_to_install(subject: Subject) -> None:
    with pytest.raises(PoolConfigurationError, match=r'pip install "pymongo\[gssapi\]"'):
        await subject.initialize("mongodb://clerk%40REALM@h/?authMechanism=GSSAPI")


async def test_a_package_that_is_there_is_not_asked_for(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pymongo_auth_aws").mkdir()
    (tmp_path / "pymongo_auth_aws" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    subject.pool.configure(AWS[0][0])


@pytest.mark.parametrize(("compressor", "module"), [("snappy", "snappy"), ("zstd", "backports.zstd")])
async def test_a_missing_compressor_is_warned_of_once_and_left_out(
    subject: Subject,
    mongodb_uri: str,
    compressor: str,
    module: str,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    if _is_there(module):
        pytest.skip(f"{module} is installed")
    caplog.set_level(logging.WARNING, "async_mongo_pool")
    client = await subject.initialize(mongodb_uri, compressors=[compressor, "zlib"])
    assert (await subject.call(ping, client))["ok"] == 1
    assert f'pip install "pymongo[{compressor}]"' in caplog.text
    assert caplog.text.count("is not available") == 1
    assert not [warning for warning in recwarn if "compression" in str(warning.message)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
