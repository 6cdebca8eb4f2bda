"""The long run by time: all backends at once on one replica set, a fault now and then, and a rest after each."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from async_mongo_pool.testing import ServerError
from tests.faults.replica_set import ProxiedReplicaSet

from .child import Child, ChildError
from .faults import Faults
from .record import Record
from .table import failures, load_table, progress, slope_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Terms", "run"]

TASKS = 12
REST_LIMIT = 150.0
ORDER_LIMIT = 30.0
SERVER_LIMIT = 20.0
LOAD_SHARE = 0.75
"""The part of each interval that is load; the rest of it is rest."""
MONITORS = 2
"""Connections of each client's monitor to each member."""
WARM_UP_SHARE = 0.2
LONGEST_WARM_UP = 300.0
INTERRUPTED = 130


@dataclass(frozen=True)
class Terms:
    """What was asked for; times in seconds."""

    seconds: float
    fault_every: float
    seed: int
    backends: Sequence[str]
    samples: Path | None = None

    @property
    def warm_up(self) -> float:
        """Hours after which samples count: caches and thread pools are full by then."""
        return min(self.seconds * WARM_UP_SHARE, LONGEST_WARM_UP) / 3600


class Course:
    """One long run.

    Args:
        terms: How long, how often.
        deployment: The replica set, running.
        children: The workers, ready.
    """

    def __init__(self, terms: Terms, deployment: ProxiedReplicaSet, children: Sequence[Child]) -> None:
        self.terms = terms
        self.records = [Record(child.backend) for child in children]
        self._deployment = deployment
        self._children = children
        self._faults = Faults(deployment, terms.seed)
        self._struck = 0
        self._began = time.monotonic()
        self._told = 0.0

    def run(self) -> None:
        """Load, fault and rest, until the time is up."""
        _tell(f"under load: {', '.join(record.backend for record in self.records)}")
        while (left := self.terms.seconds - self._elapsed()) > 0:
            self._interval(min(left, self.terms.fault_every))
        self._take_census()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _interval(self, seconds: float) -> None:
        began = time.monotonic()
        self._all("go", ORDER_LIMIT)
        time.sleep(seconds * 0.1)
        kind = self._faults.next()
        try:
            self._faults.strike(kind, seconds * 0.3)
        except ServerError as error:
            self._everywhere(f"the servers did not recover from {kind}: {error}")
            raise
        self._struck += 1
        time.sleep(max(seconds * 0.1, seconds * LOAD_SHARE - (time.monotonic() - began)))
        self._rest(kind)
        if not self.records[0].censuses and self._elapsed() >= self.terms.warm_up * 3600:
            self._take_census()
        if self._elapsed() - self._told >= 60:
            self._told = self._elapsed()
            _tell(progress(self._told / 60, self._struck, self.records))
        time.sleep(max(seconds - (time.monotonic() - began), 0.0))

    def _rest(self, kind: str) -> None:
        reports = self._all("rest", REST_LIMIT)
        hours = self._elapsed() / 3600
        counts = self._server_connections(reports)
        for record, report, count in zip(self.records, reports, counts, strict=True):
            report["complaints"] = [
                f"{complaint} (fault {self._struck}, {kind}, after {hours * 60:.1f} min)"
                for complaint in report["complaints"]
            ]
            record.faults = self._struck
            record.add(hours, report, count)
            self._write(record)

    def _write(self, record: Record) -> None:
        if self.terms.samples is not None and record.samples:
            hours, values = record.samples[-1]
            with self.terms.samples.open("a") as file:
                file.write(json.dumps({"backend": record.backend, "hours": hours, **values}) + "\n")

    def _server_connections(self, reports: Sequence[dict[str, Any]]) -> list[int | None]:
        """What the servers count of each backend, once that agrees with its pool; None where it never does."""
        deadline = time.monotonic() + SERVER_LIMIT
        while True:
            counts = self._counted([report["name"] for report in reports])
            sizes = [answer["size"] for answer in self._all("size", ORDER_LIMIT)]
            most = MONITORS * len(self._deployment.members)
            agree = [
                count is not None and size <= count <= size + most
                for size, count in zip(sizes, counts, strict=True)
            ]
            if all(agree) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        for record, agrees, count, size in zip(self.records, agree, counts, sizes, strict=True):
            if not agrees:
                record.complain(f"the servers count {count} connections, the pool {size}")
        return [count if agrees else None for count, agrees in zip(counts, agree, strict=True)]

    def _counted(self, names: Sequence[str]) -> list[int | None]:
        """The connections of each of these applications, as the servers count them; None while one is silent."""
        try:
            seen = [each.get("appName") for member in self._deployment.members for each in member.connections()]
        except ServerError:
            return [None] * len(names)
        return [seen.count(name) for name in names]

    def _take_census(self) -> None:
        for record, answer in zip(self.records, self._all("census", ORDER_LIMIT), strict=True):
            record.censuses.append(answer["census"])

    def _all(self, order: str, limit: float) -> list[dict[str, Any]]:
        for child in self._children:
            child.order(order)
        return [child.answer(order, limit) for child in self._children]

    def _everywhere(self, complaint: str) -> None:
        for record in self.records:
            record.complain(complaint)


def run(terms: Terms) -> int:
    """The whole of it, the tables at the end included; the exit code."""
    began = time.monotonic()
    stopped = ""
    wrong: list[str] = []
    course: Course | None = None
    with _terminable(), ExitStack() as stack:
        try:
            deployment = stack.enter_context(ProxiedReplicaSet())
            course = Course(terms, deployment, _children(stack, terms, deployment, wrong))
            course.run()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except (ChildError, ServerError) as error:
            wrong.append(str(error))
        finally:
            _end(stack, wrong)
    minutes = (time.monotonic() - began) / 60
    _tell("" if course is None else _tables(course.records, terms.warm_up))
    _tell(f"{minutes:.1f} min, seed {terms.seed}" + (f", {stopped}" if stopped else ""))
    wrong += [] if course is None else failures(course.records, terms.warm_up)
    for each in wrong:
        _tell(f"WRONG: {each}")
    if wrong:
        return 1
    if course is not None:
        judged = all(record.is_judged(terms.warm_up) for record in course.records)
        slopes = "every slope is flat" if judged else "too few samples to judge slopes"
        _tell(f"zero drift, every law held, {slopes}")
    return INTERRUPTED if stopped else 0


def _tables(records: Sequence[Record], warm_up: float) -> str:
    return f"\n{load_table(records)}\n\n{slope_table(records, warm_up)}\n"


def _children(stack: ExitStack, terms: Terms, deployment: ProxiedReplicaSet, wrong: list[str]) -> list[Child]:
    made = []
    for place, backend in enumerate(terms.backends):
        child = Child(
            backend,
            uri=deployment.client_uri,
            seed=terms.seed + place,
            tasks=TASKS,
            replace_every=terms.fault_every * 3,
        )
        stack.callback(_end_child, child, wrong)
        made.append(child)
    for child in made:
        child.wait_ready()
    return made


def _end_child(child: Child, wrong: list[str]) -> None:
    if code := child.end():
        wrong.append(f"{child.backend}: its process ended with {code}")


def _end(stack: ExitStack, wrong: list[str]) -> None:
    """End workers and servers, whatever else is pressed meanwhile."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stack.close()
    except Exception as error:
        wrong.append(f"the end failed: {error!r}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(text: str) -> None:
    print(text, flush=True)
