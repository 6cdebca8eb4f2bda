"""Importing the package: quiet, quick, and only what is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import async_mongo_pool

pytestmark = pytest.mark.core

STRANGERS = ("fastapi", "starlette", "prometheus_client", "opentelemetry", "rich", "typer", "pytest")


def run(code: str, *options: str) -> str:
    finished = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_no_warning_becomes_an_error() -> None:
    run("import async_mongo_pool; async_mongo_pool.AsyncMongoDBConnectionPool", "-W", "error")


def test_no_stranger_is_imported() -> None:
    loaded = run(
        "import sys, async_mongo_pool as p\n"
        "[getattr(p, name) for name in p.__all__]\n"
        "print(*sorted(name for name in sys.modules if '.' not in name))"
    ).split()
    assert not set(STRANGERS) & set(loaded)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in async_mongo_pool.__all__:
        assert getattr(async_mongo_pool, name) is not None
        if name != "__version__":
            assert getattr(async_mongo_pool, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pool'"):
        async_mongo_pool.Pool  # noqa: B018 - the access is what is tested
