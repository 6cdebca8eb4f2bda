"""What one backend has shown so far, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .sample import LIMITS
from .slopes import judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .slopes import Verdict

__all__ = ["Record"]

MOST_COMPLAINTS = 50
MOST_GROWN = 8


@dataclass
class Record:
    """One backend's run.

    Attributes:
        backend: Which one.
        latest: What the worker reported last.
        faults: Faults that it has lived through.
        samples: By hours since the load began: each quantity at rest.
        complaints: What must not happen and did.
    """

    backend: str
    latest: Mapping[str, Any] = field(default_factory=dict)
    faults: int = 0
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    censuses: list[dict[str, int]] = field(default_factory=list)

    def add(self, hours: float, report: Mapping[str, Any], server_connections: int | None) -> None:
        """Keep what the worker reported at a rest, and what the servers counted (None: they did not agree)."""
        self.latest = report
        self.complain(*report["complaints"])
        if server_connections is not None:
            self.samples.append((hours, {**report["sample"], "server connections": server_connections}))

    def complain(self, *complaints: str) -> None:
        self.complaints += complaints[: MOST_COMPLAINTS - len(self.complaints)]

    def verdicts(self, warm_up: float) -> list[Verdict]:
        """Of each quantity, from its samples after so many hours."""
        warm = [(hours, values) for hours, values in self.samples if hours >= warm_up]
        return [judge(limit, [(hours, values[limit.name]) for hours, values in warm]) for limit in LIMITS]

    def is_judged(self, warm_up: float) -> bool:
        """Whether there were samples enough to tell a slope."""
        return all(verdict.slope is not None for verdict in self.verdicts(warm_up))

    def grown(self, what: str) -> str:
        """What there is more of than at the end of the warm-up: threads by name, or else classes of objects."""
        if len(self.censuses) < 2:
            return "not counted"
        before, after = self.censuses[0], self.censuses[-1]
        differences = {
            kind: number - before.get(kind, 0)
            for kind, number in after.items()
            if kind.startswith("thread ") == (what == "threads")
        }
        most = sorted(differences.items(), key=lambda each: -each[1])[:MOST_GROWN]
        return ", ".join(f"{kind} +{number}" for kind, number in most if number > 0) or "none"
