"""What the workers of the long run must notice, and what their parent must."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.pools.subjects import NO_SERVER, Subject

from . import load
from .child import Child, ChildError
from .faults import KINDS, Faults
from .load import LongLoad
from .sample import LIMITS, census, measure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.statistics.load import Operation


class HangingLoad(LongLoad):
    def _operations(self) -> list[Operation]:
        return [self._hang]

    async def _hang(self, _: Any) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def idle_load(request: pytest.FixtureRequest) -> AsyncIterator[LongLoad]:
    """A load on a pool that was never opened."""
    made: LongLoad = request.param(Subject("motor"), NO_SERVER, 1, 2)
    yield made
    await made.end()
    made.threads.shutdown()


@pytest.mark.parametrize("idle_load", [LongLoad], indirect=True)
async def test_an_error_that_is_not_the_drivers_is_complained_of(
    idle_load: LongLoad, wait_until_async: Any
) -> None:
    idle_load.go()
    await wait_until_async(lambda: len(idle_load.complaints) == load.MOST_COMPLAINTS)
    assert all("'NoneType' object" in complaint for complaint in idle_load.complaints)
    await idle_load.halt()
    assert idle_load.done == 0


@pytest.mark.parametrize("idle_load", [HangingLoad], indirect=True)
async def test_an_operation_that_does_not_end_is_complained_of(
    idle_load: LongLoad, wait_until_async: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "STOP_LIMIT", 0.2)
    monkeypatch.setattr(load, "CANCELLED", 0)
    idle_load.go()
    await wait_until_async(lambda: len(idle_load.running()) == 2)
    await idle_load.halt()
    assert idle_load.complaints == ["['hang', 'hang'] did not end within 0.2 s"]
    assert idle_load.longest_gap > 0


async def test_every_quantity_is_measured() -> None:
    found = measure()
    assert set(found) | {"server connections"} == {limit.name for limit in LIMITS} | {"rss"}
    assert found["memory"] > 5
    assert found["blocks"] > found["objects"] > 1000
    assert min(found["threads"], found["tasks"], found["descriptors"]) >= 1


async def test_a_census_names_what_has_grown() -> None:
    before = census()
    kept = [Subject.__new__(Subject) for _ in range(7)]
    for each in kept:
        # What the collector does not track, it cannot count.
        each.choice = {}
    kind = "tests.pools.subjects.Subject"
    assert census()[kind] - before.get(kind, 0) == 7
    assert before["thread MainThread"] == 1


def test_each_kind_of_fault_comes_before_any_comes_again() -> None:
    unused: Any = None
    for seed in range(5):
        faults, again = Faults(unused, seed), Faults(unused, seed)
        kinds = [faults.next() for _ in KINDS]
        assert sorted(kinds) == sorted(KINDS)
        assert kinds == [again.next() for _ in KINDS], "the seed decides"
        assert sorted(faults.next() for _ in KINDS) == sorted(KINDS)


def test_a_worker_that_fails_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    child = Child("nonsense", uri=NO_SERVER, seed=1, tasks=1, replace_every=60)
    try:
        with pytest.raises(ChildError, match=r"no answer to 'go' within 0\.01 s"):
            child.answer("go", 0.01)
        with pytest.raises(ChildError, match="nonsense: its process ended with 1 at 'start'"):
            child.wait_ready()
    finally:
        assert child.end() == 1
    assert "nonsense" in capfd.readouterr().err
