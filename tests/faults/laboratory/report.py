"""The figures of all runs as one table, and what they fall short of."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from .contestants import KINDS
from .failures import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .measure import Figures

__all__ = ["SILENT_LIMIT", "complaints", "line", "table"]

SILENT_LIMIT = 5.0
"""Seconds without a write that the preset allows itself when the primary falls silent."""
AFTER_THE_SET = 1.0
"""Seconds after the set itself was able to write again, where its election had to be repeated."""
NOTICEABLE = 0.4
"""Less than the half second between two looks of a driver for a server that it has lost; medians that differ by
less than this mean nothing."""


def line(figures: Figures) -> str:
    """One contestant's run, for the eye of who waits."""
    errors = ", ".join(f"{number} {name}" for name, number in sorted(figures.errors.items())) or "none"
    return (
        f"{figures.fault:<10} {figures.backend:<8} {figures.kind:<14} gap {figures.gap:5.2f} s (the set "
        f"{figures.set_gap:5.2f} s), {figures.acknowledged} acknowledged, {figures.lost} lost, "
        f"{figures.hanging} never returned, errors: {errors}"
    )


def table(found: Sequence[Figures]) -> str:
    """Markdown: a row for each fault and backend; gaps are medians, with the longest in brackets."""
    headings = ["fault", "backend", "the set itself", *KINDS, "failed writes", "lost", "never returned"]
    rows = [headings, ["---"] * len(headings)]
    for fault, backend in _pairs(found):
        runs = [each for each in found if (each.fault, each.backend) == (fault, backend)]
        kinds = [[each for each in runs if each.kind == kind] for kind in KINDS]
        rows.append(
            [
                fault,
                backend,
                _gaps(each.set_gap for each in runs),
                *(_gaps(each.gap for each in of_kind) for of_kind in kinds),
                " / ".join(str(sum(each.failed for each in of_kind)) for of_kind in kinds),
                str(sum(each.lost for each in runs)),
                str(sum(each.hanging for each in runs)),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def complaints(found: Sequence[Figures]) -> list[str]:
    """What must not be: lost writes, writes that never return, a silent primary that lasts."""
    wrong = []
    for each in found:
        if each.lost or each.hanging:
            wrong.append(f"lost or never returned: {line(each)}")
        if each.kind == "fast_failover" and FAULTS[each.fault].silent:
            limit = max(SILENT_LIMIT, each.set_gap + AFTER_THE_SET)
            if each.gap > limit:
                wrong.append(f"more than {limit:.1f} s: {line(each)}")
    return wrong + _worse_than_plain(found)


def _worse_than_plain(found: Sequence[Figures]) -> list[str]:
    wrong = []
    for fault, backend in _pairs(found):
        gaps = {
            kind: [each.gap for each in found if (each.fault, each.backend, each.kind) == (fault, backend, kind)]
            for kind in KINDS
        }
        if not gaps["plain"]:
            continue
        plain = statistics.median(gaps["plain"])
        wrong += [
            f"worse than the plain driver by {more:.2f} s: {fault} {backend} {kind}"
            for kind in KINDS
            if gaps[kind] and (more := statistics.median(gaps[kind]) - plain) > NOTICEABLE
        ]
    return wrong


def _pairs(found: Iterable[Figures]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((each.fault, each.backend) for each in found))


def _gaps(seconds: Iterable[float]) -> str:
    several = list(seconds)
    if not several:
        return ""
    median, longest = statistics.median(several), max(several)
    return f"{median:.1f}" if f"{median:.1f}" == f"{longest:.1f}" else f"{median:.1f} ({longest:.1f})"
