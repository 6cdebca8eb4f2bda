"""Without an exporter's package the message says what to install, and the core never asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r} or name.startswith({package!r} + "."):
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Without())
import async_mongo_pool.exporters
try:
    import async_mongo_pool.exporters.{module}
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.core
@pytest.mark.parametrize(
    ("package", "module", "install"),
    [
        ("prometheus_client", "prometheus", "async_mongo_pool[prometheus]"),
        ("opentelemetry", "opentelemetry", "async_mongo_pool[opentelemetry]"),
        ("opentelemetry.sdk", "opentelemetry_histograms", "opentelemetry-sdk"),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(package: str, module: str, install: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package=package, module=module)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert said.startswith("MissingExtraError ")
    assert f'pip install "{install}"' in said


@pytest.mark.core
def test_the_core_imports_no_exporter() -> None:
    code = (
        "import sys, async_mongo_pool as p; [getattr(p, name) for name in p.__all__];"
        "print([name for name in sys.modules if 'exporter' in name or name[:10] in ('prometheus', 'openteleme')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.strip() == "[]"
