"""The watch over this suite, watched: each test here is a suite of its own that leaves something."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOP_SCOPES = pytest.mark.parametrize("loop_scope", ["function", "session"])


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    watch = (ROOT / "tests" / "conftest.py").read_text()
    pytester.makeconftest(watch.replace("SETTLING_LIMIT = 3.0", "SETTLING_LIMIT = 0.3"))
    return pytester


def run(suite: pytest.Pytester, body: str, loop_scope: str = "function") -> pytest.RunResult:
    suite.makeini(
        f"[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        f"asyncio_default_test_loop_scope = {loop_scope}\naddopts = --strict-markers"
    )
    suite.makepyfile("import asyncio, pytest, socket, subprocess, sys, threading\nkept = []\n" + body)
    return suite.runpytest_subprocess("-p", "no:randomly", timeout=60)


THREAD = """
def test_leaves():
    threading.Thread(target=threading.Event().wait, args=(5,), name="forgotten", daemon=True).start()
"""
PROCESS = """
def test_leaves():
    kept.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)  # forgotten"]))
"""
SOCKET = """
def test_leaves():
    kept.append(socket.create_server(("127.0.0.1", 0)))  # forgotten
    assert kept
"""
TASK = """
async def test_leaves():
    kept.append(asyncio.create_task(asyncio.sleep(5), name="forgotten"))
"""


@pytest.mark.parametrize(
    ("body", "named"), [(THREAD, "thread forgotten"), (PROCESS, "forgotten"), (SOCKET, "socket")]
)
def test_what_a_test_leaves_is_an_error(suite: pytest.Pytester, body: str, named: str) -> None:
    result = run(suite, body)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*after its end the test has left:*", f"*{named}*"])


OWED = """
import time
from pymongo.periodic_executor import PeriodicExecutor

def test_leaves():
    ending = PeriodicExecutor(5, 1, lambda: True, "ending")
    ending.open()
    kept.append(socket.create_server(("127.0.0.1", 0)))
    ending.close()
"""


@pytest.mark.parametrize("later", ["def test_later(): time.sleep(1.2)", ""])
def test_what_ending_threads_still_have_is_an_error_only_when_it_stays(suite: pytest.Pytester, later: str) -> None:
    result = run(suite, OWED + later)
    result.assert_outcomes(passed=2 if later else 1, errors=1)
    result.stdout.fnmatch_lines(["*after its end the test has left:*", "*socket*since*test_leaves*"])


@LOOP_SCOPES
def test_a_forgotten_task_is_an_error_in_every_loop(suite: pytest.Pytester, loop_scope: str) -> None:
    body = "async def test_leaves():\n    kept.append(asyncio.create_task(asyncio.sleep(5), name='forgotten'))\n"
    result = run(suite, body, loop_scope)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*after its end the test has left:*", "*forgotten*"])


def test_what_a_fixture_cleans_up_is_not_left(suite: pytest.Pytester) -> None:
    body = """
@pytest.fixture
async def background():
    tasks = []
    yield tasks
    for task in tasks:
        task.cancel()

async def test_cleans(background):
    background.append(asyncio.create_task(asyncio.sleep(5)))

def test_settles():
    threading.Thread(target=threading.Event().wait, args=(0.1,)).start()

async def test_keeps_the_executor():
    await asyncio.to_thread(int)
"""
    run(suite, body).assert_outcomes(passed=3)


def test_the_sessions_server_is_not_left_by_a_test(suite: pytest.Pytester) -> None:
    run(suite, "def test_uses(mongodb_uri): pass\n").assert_outcomes(passed=1)


def test_a_test_can_opt_out_with_a_reason_only(suite: pytest.Pytester) -> None:
    with_reason = THREAD.replace("\n", "\n@pytest.mark.leaves(reason='on purpose')\n", 1)
    run(suite, with_reason).assert_outcomes(passed=1)
    without = THREAD.replace("\n", "\n@pytest.mark.leaves\n", 1)
    result = run(suite, without)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the marker `leaves` needs a reason*"])
