"""How long something took, judged fairly on a busy machine.

A promise such as "answers within 100 ms" is about our code, and not about a machine that runs something else too.
A small process of its own measures how much longer its short sleeps take than they should: that is how long the
machine kept everybody waiting. An upper limit is held against the time without those stalls, a lower one against
the wall's clock. On a quiet machine the two are the same.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Moment", "Took", "measuring_stalls", "now"]

HOPS = 4
"""How often what is measured waits for a processor, where the sampler waits once: client, server, and back."""

_SIZE = 8
_NOTHING_YET = -1.0

_SAMPLER = """
import mmap, os, struct, sys, time
with open(sys.argv[1], "r+b") as file:
    shared = mmap.mmap(file.fileno(), 8)
parent, stalled, before = os.getppid(), 0.0, time.monotonic()
while os.getppid() == parent:
    time.sleep(0.002)
    now = time.monotonic()
    stalled += max(now - before - 0.003, 0.0)
    before = now
    struct.pack_into("d", shared, 0, stalled)
"""


class _Stalls:
    """What the sampler has written so far."""

    shared: mmap.mmap | None = None
    sampler: subprocess.Popen[bytes] | None = None

    @classmethod
    def seconds(cls) -> float:
        return max(cls._written(), 0.0)

    @classmethod
    def are_measured(cls) -> bool:
        """Whether the sampler has begun."""
        return cls._written() >= 0

    @classmethod
    def _written(cls) -> float:
        if cls.shared is None:
            return _NOTHING_YET
        (stalled,) = struct.unpack_from("d", cls.shared)
        return float(stalled)


@dataclass(frozen=True)
class Took:
    """A length of time; compare it with limits as if it were a number.

    Attributes:
        seconds: By the clock on the wall.
        stalled: Those of them for which the machine kept a process waiting that only slept.
    """

    seconds: float
    stalled: float

    def __lt__(self, limit: float) -> bool:
        return self.seconds - HOPS * self.stalled < limit

    def __le__(self, limit: float) -> bool:
        return self.seconds - HOPS * self.stalled <= limit

    def __gt__(self, limit: float) -> bool:
        return self.seconds > limit

    def __ge__(self, limit: float) -> bool:
        return self.seconds >= limit


@dataclass(frozen=True)
class Moment:
    """A point in time; the difference of two is a ``Took``."""

    at: float
    stalled: float

    def __sub__(self, earlier: Moment) -> Took:
        return Took(self.at - earlier.at, self.stalled - earlier.stalled)


def now() -> Moment:
    """This moment."""
    return Moment(time.monotonic(), _Stalls.seconds())


@contextmanager
def measuring_stalls() -> Iterator[None]:
    """Let the sampler run; it ends with the block, or with this process."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(struct.pack("d", _NOTHING_YET))
        file.flush()
        with mmap.mmap(file.fileno(), _SIZE) as shared:
            sampler = subprocess.Popen([sys.executable, "-S", "-E", "-c", _SAMPLER, file.name])
            _Stalls.shared, _Stalls.sampler = shared, sampler
            try:
                yield
            finally:
                _Stalls.shared = _Stalls.sampler = None
                sampler.kill()
                sampler.wait(10)
