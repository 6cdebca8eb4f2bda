"""One picture of a pool as text: from what is known to lines, without any I/O."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from async_mongo_pool._version import __version__
from async_mongo_pool.cli.screen import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from async_mongo_pool.distribution import Distribution
    from async_mongo_pool.stats import ExecutorStats, Holder, PoolSnapshot, ServerStats

__all__ = ["ASCII", "UNICODE", "Glyphs", "View", "frame", "plain"]

_LABEL = 12
_MOST_ROWS = 5
_NARROWEST = 20
_ROOMY = 32
_BELOW = 7
"""Two headings, four durations, and how many more holders there are."""
_NAME = 16
_COLUMNS = {"per s": 9, "p50": 12, "p95": 12, "p99": 12, "max so far": 13}


class Glyphs(NamedTuple):
    """What bars and curves are drawn with.

    Attributes:
        used: A connection that is used.
        idle: One that is idle.
        connecting: One that is being set up.
        free: One that there may be.
        ramp: From nothing to the most.
        cut: Stands for what did not fit.
    """

    used: str
    idle: str
    connecting: str
    free: str
    ramp: str
    cut: str


UNICODE = Glyphs("█", "▒", "+", "·", "▁▂▃▄▅▆▇█", "…")
ASCII = Glyphs("#", "=", "+", ".", "_.:-=+*#", "~")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one picture shows.

    Attributes:
        client: Whose client the pool holds.
        snapshot: The pool now.
        delta: What happened since the picture before.
        stats: The last answer of ``get_pool_stats``; empty before the first.
        silent_seconds: For how long the server has been asked and has not answered.
        holders: Who holds connections, the longest first.
        used: Connections in use at each picture so far.
        waiting: Operations that waited, likewise.
        doing: What the demo's load does; empty without it.
        note: What the library warned of; empty without.
    """

    client: str
    snapshot: PoolSnapshot
    delta: PoolSnapshot
    stats: Mapping[str, Any] = field(default_factory=dict)
    silent_seconds: float = 0.0
    holders: Sequence[Holder] = ()
    used: Sequence[int] = ()
    waiting: Sequence[int] = ()
    doing: str = ""
    note: str = ""


def frame(view: View, width: int, height: int | None = None, glyphs: Glyphs = UNICODE) -> Text:
    """The picture.

    Args:
        view: What to show.
        width: Columns, at least 20; no line is longer.
        height: Rows; with few of them, fewer commands and holders are listed. None: as many as are useful.
        glyphs: What to draw with.
    """
    width = max(width, _NARROWEST)
    fixed = [
        *_head(view, width),
        *_servers(view, width, glyphs),
        *_flow(view),
        *_executor(view),
        *_curves(view, width, glyphs),
    ]
    crowded = height is not None and height < _ROOMY
    if crowded:
        fixed = [line for line in fixed if line]
    gap = [] if crowded else [Text()]
    rows = _rows(height, len(fixed) + 2 * len(gap))
    lines = [*fixed, *gap, *_durations(view, width, rows), *gap, *_holders(view, rows)]
    for line in lines:
        _cut(line, width, glyphs.cut)
    return Text("\n").join(lines)


def plain(view: View, width: int, glyphs: Glyphs = UNICODE) -> str:
    """The picture without colours, for pipes and files."""
    return "\n".join(line.rstrip() for line in frame(view, width, None, glyphs).plain.splitlines())


def _rows(height: int | None, fixed: int) -> int:
    """How many commands, and how many holders, fit below the rest."""
    if height is None:
        return _MOST_ROWS
    return min(max((height - fixed - _BELOW) // 2, 1), _MOST_ROWS)


def _cut(line: Text, width: int, sign: str) -> None:
    if line.cell_len > width:
        line.truncate(width - 1)
        line.append(sign)


def _labelled(label: str, *parts: str | tuple[str, str]) -> Text:
    return Text.assemble((label.ljust(_LABEL), "cyan"), *parts)


def _head(view: View, width: int) -> list[Text]:
    snapshot, stats = view.snapshot, view.stats
    version = stats.get("server_version")
    server = f"MongoDB {version}, " if version else ""
    about = f" with {view.client}, up {_time(snapshot.seconds)}, {server}async_mongo_pool {__version__}"
    lines = [
        Text.assemble((snapshot.pool, "bold"), about),
        _labelled("server", str(stats.get("connection_string", ""))),
        _status(view),
        _labelled("connections", _counted_by_server(stats)),
    ]
    if error := stats.get("error"):
        lines += _wrapped("error", str(error), width, "red")
    if view.note:
        lines += _wrapped("note", view.note, width, "yellow")
    if view.doing:
        lines.append(_labelled("load", (view.doing, "bold")))
    return lines


def _wrapped(label: str, text: str, width: int, style: str) -> list[Text]:
    wide = max(width - _LABEL, _NARROWEST - _LABEL)
    lines = textwrap.wrap(text, wide, max_lines=2, placeholder=" ...")
    return [_labelled("" if number else label, (line, style)) for number, line in enumerate(lines)]


def _status(view: View) -> Text:
    snapshot, status = view.snapshot, str(view.stats.get("status", "not asked yet"))
    saturated, drift = ("yes", "red") if snapshot.saturated else ("no", ""), str(snapshot.drift)
    parts: list[str | tuple[str, str]] = [
        (status, "green" if status == "connected" else "red"),
        ", saturated ",
        saturated,
        ", drift ",
        (drift, "red" if snapshot.drift else ""),
    ]
    if view.silent_seconds >= 1:
        parts.append((f", no answer for {_time(view.silent_seconds)}", "red"))
    return _labelled("status", *parts)


def _counted_by_server(stats: Mapping[str, Any]) -> str:
    counted = stats.get("server_connections")
    if counted is None:
        return "the server was not asked"
    if counted["error"] is not None:
        return f"the server did not tell: {counted['error']}"
    return (
        f"{counted['current']:,} at the server, of all its clients; {counted['available']:,} left, "
        f"{counted['total_created']:,} so far"
    )


def _servers(view: View, width: int, glyphs: Glyphs) -> Iterable[Text]:
    yield Text()
    for server in view.snapshot.servers.values():
        most = f"of at most {server.max_size:,}" if server.max_size else "without a limit"
        styles = {"ready": "green", "paused": "red"}
        yield Text.assemble(
            server.address,
            " ",
            (server.state, styles.get(server.state, "dim")),
            f"  {server.used:,} used, {server.idle:,} idle, {server.connecting:,} connecting, {most}",
        )
        if server.state != "closed":
            yield _bar(server, width, glyphs)


def _bar(server: ServerStats, width: int, glyphs: Glyphs) -> Text:
    whole = max(server.max_size or server.size, server.size, 1)
    cells = min(width, whole)
    ends: list[int] = []
    total = 0
    for number in (server.used, server.idle, server.connecting):
        total += number
        # Whatever there is is seen, also one connection of a thousand.
        ends.append(min(max(round(total * cells / whole), (ends[-1] if ends else 0) + (number > 0)), cells))
    used, idle, connecting = ends
    return Text.assemble(
        (glyphs.used * used, "red" if server.used == server.max_size else "yellow"),
        (glyphs.idle * (idle - used), "green"),
        (glyphs.connecting * (connecting - idle), "blue"),
        (glyphs.free * (cells - connecting), "dim"),
    )


def _flow(view: View) -> Iterable[Text]:
    totals, executor, delta = view.snapshot.totals, view.snapshot.executor, view.delta.totals
    queued = f" and {executor.queued:,} in Motor's queue" if executor is not None else ""
    yield Text()
    yield _labelled(
        "waiting",
        (f"{totals.waiting:,}", "red bold" if totals.waiting else ""),
        f": {totals.pending_requests:,} in the driver's queue{queued}",
    )
    counts = {
        "checkouts": delta.checkouts,
        "failed": sum(delta.checkout_failures.values()),
        "abandoned": delta.checkouts_abandoned,
        "created": delta.connections_created,
        "closed": sum(delta.connections_closed.values()),
    }
    rates = [f"{_rate(number, view.delta.seconds)} {name}" for name, number in counts.items()]
    yield _labelled("per second", ", ".join(rates))


def _executor(view: View) -> Iterable[Text]:
    now: ExecutorStats | None = view.snapshot.executor
    then = view.delta.executor
    if now is None or then is None:
        return
    refused = sum(then.refused.values())
    state = f"{now.busy:,} busy, {now.streaming:,} streaming, {now.queued:,} queued"
    yield _labelled(
        "workers",
        f"{now.workers:,} of {now.max_workers:,}: {state}, ",
        (f"{_rate(refused, view.delta.seconds)} refused per second", "red" if refused else ""),
    )


def _curves(view: View, width: int, glyphs: Glyphs) -> Iterable[Text]:
    yield _curve("used", view.used, view.snapshot.totals.max_size, width, glyphs)
    yield _curve("waiting", view.waiting, None, width, glyphs)


def _curve(label: str, history: Sequence[int], most: int | None, width: int, glyphs: Glyphs) -> Text:
    shown = list(history)[-max(width - _LABEL - 16, 1) :]
    top = max(most or 0, *shown, 1)
    steps = len(glyphs.ramp) - 1
    # Rounded up: one that waits is more than none.
    curve = "".join(glyphs.ramp[-(-value * steps // top)] for value in shown)
    return _labelled(label, curve, (f"  at most {max(shown, default=0):,}", "dim"))


def _durations(view: View, width: int, rows: int) -> Iterable[Text]:
    delta, totals = view.delta, view.delta.totals
    columns = _columns(width)
    heading = f"in {_time(delta.seconds)}".ljust(_NAME)
    yield Text(heading + "".join(f"{name:>{wide}}" for name, wide in columns.items()), style="dim")
    yield _duration("wait", totals.wait, delta.seconds, columns)
    yield _duration("use", totals.connection_use, delta.seconds, columns)
    yield _duration("create", totals.connection_create, delta.seconds, columns)
    if totals.heartbeat.max_seconds:
        yield _duration("heartbeat", totals.heartbeat, delta.seconds, columns)
    busiest = sorted(delta.commands.items(), key=lambda each: each[1].duration.sum_seconds, reverse=True)
    for name, command in [each for each in busiest if each[1].count][:rows]:
        line = _duration(f"  {name}", command.duration, delta.seconds, columns)
        if command.failures:
            line.append(f" {command.failures:,} failed", "red")
        yield line


def _columns(width: int) -> dict[str, int]:
    """The columns that fit, each with its width; the less telling ones go first."""
    columns = dict(_COLUMNS)
    for name in ("p95", "per s", "max so far", "p50"):
        if _NAME + sum(columns.values()) > width:
            del columns[name]
    return columns


def _duration(name: str, durations: Distribution, seconds: float, columns: Mapping[str, int]) -> Text:
    count = durations.count
    cells = {
        "per s": _rate(count, seconds),
        # The longest of all so far: which one was the longest of this interval, a distribution cannot tell.
        "max so far": milliseconds(durations.max_seconds or None),
    }
    for share in (50, 95, 99):
        cells[f"p{share}"] = milliseconds(durations.quantile(share / 100) if count else None)
    return Text(f"{name:<{_NAME}.{_NAME}}" + "".join(f"{cells[each]:>{wide}}" for each, wide in columns.items()))


def _holders(view: View, rows: int) -> Iterable[Text]:
    if not view.holders:
        yield Text("nobody holds a connection", style="dim")
        return
    yield Text(f"{'held for':<12}{'by':<30}{'last command':<16}connection", style="dim")
    for each in view.holders[:rows]:
        yield Text(
            f"{_time(each.seconds):<12}{each.name:<29.29} {each.command or '-':<15.15} "
            f"{each.server} #{each.connection_id}"
        )
    if (more := len(view.holders) - rows) > 0:
        yield Text(f"and {more:,} more", style="dim")


def _rate(number: int, seconds: float) -> str:
    rate = number / seconds if seconds > 0 else 0.0
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
