"""What the end of a long run says."""

from __future__ import annotations

from typing import Any

from .record import Record
from .sample import LIMITS
from .table import failures, load_table, progress, slope_table

REPORT: dict[str, Any] = {
    "done": 12_345,
    "failed": 6,
    "cancelled": 7,
    "replacements": 2,
    "failed_replacements": 1,
    "drifts": 0,
    "missed": 3,
    "longest_gap": 2.04,
    "complaints": [],
}


def record(*, leak: str | None = None, complaint: str | None = None) -> Record:
    made = Record("motor")
    for place in range(30):
        sample = {limit.name: 100.0 + (100_000 * place if limit.name == leak else 0) for limit in LIMITS}
        made.add(place / 180, {**REPORT, "sample": sample}, 9 + (3 * place if leak == "server connections" else 0))
    if complaint is not None:
        made.complain(complaint)
    made.censuses = [
        {"builtins.dict": 10, "a.B": 1, "thread worker-N": 1},
        {"builtins.dict": 12, "a.B": 4, "a.C": 1, "thread worker-N": 5},
    ]
    return made


def test_all_is_well() -> None:
    well = record()
    assert failures([well], 0.0) == []
    assert well.is_judged(0.0)
    assert "12,345" in load_table([well])
    assert "2 (1 refused)" in load_table([well])
    rows = slope_table([well], 0.0).splitlines()
    assert len(rows) == 2 + len(LIMITS)
    assert all("| flat" in row for row in rows[2:])


def test_whatever_grows_is_named_with_the_objects_that_did() -> None:
    for limit in LIMITS:
        (failure,) = failures([record(leak=limit.name)], 0.0)
        assert failure.startswith(f"motor: {limit.name} is not flat: +")
        new = "thread worker-N +4" if limit.name == "threads" else "a.B +3, builtins.dict +2, a.C +1"
        assert failure.endswith(f". New: {new}")
        assert slope_table([record(leak=limit.name)], 0.0).count("GROWS") == 1


def test_the_warm_up_does_not_count() -> None:
    warm = record()
    warm.samples = [
        (hours, {**values, "threads": 10.0 * min(place, 15)}) for place, (hours, values) in enumerate(warm.samples)
    ]
    assert [verdict.limit.name for verdict in warm.verdicts(0.0) if not verdict.flat] == ["threads"]
    assert all(verdict.flat for verdict in warm.verdicts(warm.samples[15][0]))


def test_a_complaint_is_a_failure_and_shows_while_it_runs() -> None:
    broken = record(complaint="a law is broken: used 1")
    assert failures([broken], 0.0) == ["motor: a law is broken: used 1"]
    assert "1 COMPLAINTS" in progress(3.0, 9, [broken])
    assert "COMPLAINTS" not in progress(3.0, 9, [record()])


def test_complaints_are_bounded() -> None:
    broken = record()
    for number in range(200):
        broken.complain(f"complaint {number}")
    assert len(broken.complaints) == 50


def test_before_the_first_sample_there_is_a_table_too() -> None:
    empty = Record("sync")
    assert "| sync" in load_table([empty])
    assert slope_table([empty], 0.0).count("too few samples") == len(LIMITS)
    assert not empty.is_judged(0.0)
    assert failures([empty], 0.0) == []
