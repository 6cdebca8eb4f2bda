"""The end of the long run: tables in Markdown, and what is wrong, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .record import Record
    from .slopes import Verdict

__all__ = ["failures", "load_table", "progress", "slope_table"]


def load_table(records: Sequence[Record]) -> str:
    """What each backend did and lived through."""
    headings = [
        "backend", "operations", "failed", "cancelled", "faults", "replacements", "drift events",
        "broken laws and hangs", "events missed", "longest gap",
    ]  # fmt: skip
    return _table(headings, (_load_row(record) for record in records))


def _load_row(record: Record) -> list[str]:
    latest = record.latest
    return [
        record.backend,
        f"{latest.get('done', 0):,}",
        f"{latest.get('failed', 0):,}",
        f"{latest.get('cancelled', 0):,}",
        str(record.faults),
        f"{latest.get('replacements', 0)} ({latest.get('failed_replacements', 0)} refused)",
        str(latest.get("drifts", 0)),
        str(len(record.complaints)),
        str(latest.get("missed", 0)),
        f"{latest.get('longest_gap', 0.0):.1f} s",
    ]


def slope_table(records: Sequence[Record], warm_up: float) -> str:
    """How each quantity moved, from samples at rest after the warm-up (in hours)."""
    headings = ["backend", "quantity", "first third", "last third", "slope per hour", "99 % interval", "verdict"]
    rows = (_slope_row(record, verdict) for record in records for verdict in record.verdicts(warm_up))
    return _table(headings, rows)


def _slope_row(record: Record, verdict: Verdict) -> list[str]:
    unit = f" {verdict.limit.unit}" if verdict.limit.unit else ""
    ends = [f"{verdict.first:,.1f}{unit}", f"{verdict.last:,.1f}{unit}"]
    if verdict.slope is None:
        return [record.backend, verdict.limit.name, *ends, "", "", "too few samples"]
    slope = verdict.slope
    return [
        record.backend,
        verdict.limit.name,
        *ends,
        f"{slope.middle:+,.2f}{unit}",
        f"{slope.low:+,.2f} to {slope.high:+,.2f}",
        "flat" if verdict.flat else "GROWS",
    ]


def failures(records: Sequence[Record], warm_up: float) -> list[str]:
    """Everything for which the run has failed; empty when all is well."""
    found = [f"{record.backend}: {complaint}" for record in records for complaint in record.complaints]
    for record in records:
        found += [_growth(record, verdict) for verdict in record.verdicts(warm_up) if not verdict.flat]
    return found


def _growth(record: Record, verdict: Verdict) -> str:
    slope = f"{verdict.slope.middle:+,.2f} per hour, " if verdict.slope is not None else ""
    return (
        f"{record.backend}: {verdict.limit.name} is not flat: {slope}from {verdict.first:,.1f} "
        f"to {verdict.last:,.1f}. New: {record.grown(verdict.limit.name)}"
    )


def progress(minutes: float, faults: int, records: Sequence[Record]) -> str:
    """One line: how far it is."""
    states = []
    for record in records:
        memory = f"{record.samples[-1][1]['memory']:.0f} MiB" if record.samples else "no sample yet"
        state = f"{record.backend} {record.latest.get('done', 0):,} operations, {memory}"
        states.append(state + (f", {len(record.complaints)} COMPLAINTS" if record.complaints else ""))
    return f"{minutes:5.1f} min, {faults} faults: " + "; ".join(states)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    everything = [list(headings), *map(list, rows)]
    widths = [max(len(row[place]) for row in everything) for place in range(len(headings))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in everything]  # fmt: skip
    ruler = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], ruler, *lines[1:]])
