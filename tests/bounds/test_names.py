"""A resolver that is silent, or knows no such name: bounded, named, the loop turns, and the process ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from .name_story import BACKENDS
from .rows import SCHEDULING

ROOT = Path(__file__).parents[2]
NAMESPACES = ["unshare", "--map-root-user", "--net", "--mount"]
LIMIT = 60
LATENCY = 0.2
"""Seconds for which the event loop may stand still; a lookup in it would take all of the timeout."""


@cache
def has_namespaces() -> bool:
    """Whether an ordinary user can give a process a resolver of its own here."""
    attempt = "from tests.bounds import name_story; name_story.take_over_the_resolver()"
    command = [*NAMESPACES, sys.executable, "-c", attempt]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def tell(uri: str, mode: str) -> dict[str, dict[str, Any]]:
    """Run the story in a process of its own, and see that it ends when it has nothing more to say."""
    kind = "srv"
    command = [sys.executable, "-m", "tests.bounds.name_story"]
    if not uri.startswith("mongodb+srv"):
        kind = "system" if has_namespaces() else "pretended"
        command = [*(NAMESPACES if kind == "system" else []), *command]
    done = subprocess.run(
        [*command, kind, uri, mode], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    left = time.monotonic()
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    # The system's resolver alone would have gone on for 15 s and more.
    assert left - report.pop("ended") < 4
    return report


def check(report: dict[str, dict[str, Any]], host: str, stage: str) -> None:
    """What holds on each backend, however names are asked for."""
    assert set(report) == set(BACKENDS)
    for backend, story in report.items():
        text = story["initialize"]["text"]
        assert "in the stage DNS" in text, (backend, text)
        assert f"{stage}{host}" in text, (backend, text)
        bounds = {"initialize": 1.0, "again": 0.4 + 0.3, "degraded": 0.5, "close": 1.0}
        for call, bound in bounds.items():
            assert story[call]["seconds"] < bound * 1.1 + SCHEDULING, (backend, call, story)
            assert story[call]["gap"] < LATENCY, (backend, call, story)
        assert story["close"]["error"] is None
        assert story["live"]


def test_a_resolver_that_is_silent() -> None:
    report = tell("mongodb://silent.example.test:27017/", "silent")
    check(report, "silent.example.test", "resolving the host name ")
    for story in report.values():
        assert "the name servers do not answer" in story["initialize"]["text"]
        # Who tries again waits for the lookup that is under way, and so do the others.
        assert story["lookups"] == 1
        assert (story["degraded"]["error"], story["snapshot"]) == (None, "open")


def test_a_name_that_nobody_knows() -> None:
    report = tell("mongodb://nothing.invalid:27017/", "unknown")
    check(report, "nothing.invalid", "")
    for story in report.values():
        assert "does not resolve" in story["initialize"]["text"]
        assert (story["degraded"]["error"], story["snapshot"]) == (None, "open")


def test_an_srv_record_that_is_not_answered_or_too_late() -> None:
    # The story also waits until it is answered, and until the driver has no thread: nothing came to life by that.
    report = tell("mongodb+srv://cluster.example.test/", "silent")
    check(report, "cluster.example.test", "resolving the SRV record of ")
    for story in report.values():
        assert (story["degraded"]["error"], story["snapshot"], story["ready"]) == (None, "open", False)


def test_an_srv_record_that_nobody_knows() -> None:
    report = tell("mongodb+srv://nothing.invalid/", "unknown")
    check(report, "nothing.invalid", "_mongodb._tcp.")
    for story in report.values():
        # That is a wrong address, and nothing to be patient about.
        assert story["initialize"]["seconds"] < 0.9
        assert (story["degraded"]["error"], story["snapshot"]) == ("ConfigurationError", "not_initialized")
