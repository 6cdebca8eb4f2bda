"""What one input showed, and where: every outlet's text, and the log records and warnings of its run."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .sentinel import Sentinel, found

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Findings", "Listening", "Record", "Shown"]

_OURS = "async_mongo_pool"
_DRIVERS = ("pymongo", "bson", "motor", "gridfs", "ssl", "socket")
_LONGEST = 200_000


class Shown:
    """Whose frames of a traceback an outlet is asked to keep clean."""

    @staticmethod
    def ours(frame: FrameType) -> bool:
        """The package's own."""
        return _module(frame).partition(".")[0] == _OURS

    @staticmethod
    def drivers(frame: FrameType) -> bool:
        """The drivers'."""
        return _module(frame).partition(".")[0] in _DRIVERS

    @classmethod
    def not_the_users(cls, frame: FrameType) -> bool:
        """All but those of the tests, which stand for the user's code and know the secret."""
        return not _module(frame).startswith("tests")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


class Listening(logging.Handler):
    """Keeps every log record of every logger."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it; its text is made when it is looked at, as handlers on threads do."""
        self.records.append(record)


class Record:
    """One input: the secrets that it was made with, and all that was shown."""

    def __init__(self, kind: str, draw: random.Random) -> None:
        self.kind = kind
        self.draw = draw
        self.secrets: list[Sentinel] = []
        self.outlets: list[tuple[str, str]] = []
        self.in_drivers_frames = 0

    def secret(self, *, plain: bool = False) -> str:
        """A new secret."""
        made = Sentinel(self.draw, plain=plain)
        self.secrets.append(made)
        return made.text

    def show(self, outlet: str, *values: object) -> None:
        """Values as ``repr`` and ``str`` show them."""
        self.outlets.append((outlet, "\n".join(_both(value) for value in values)))

    def text(self, outlet: str, text: str) -> None:
        """A text that somebody reads."""
        self.outlets.append((outlet, text[:_LONGEST]))

    def error(
        self, error: BaseException, whose: Callable[[FrameType], bool] = Shown.not_the_users, outlet: str = "error"
    ) -> None:
        """An error, with all that it was caused by, and the local variables of the frames asked for."""
        for each in _chain(error):
            self.text(f"{outlet} text", f"{_both(each)} {_repr(each.args)} {_notes(each)}")
            self.text(f"{outlet} attributes", _repr(vars(each)))
            within = False
            for frame, _ in traceback.walk_tb(each.__traceback__):
                # What is above our first frame is the caller's, threads that he hands his arguments to included.
                within = within or Shown.ours(frame)
                if within and whose(frame):
                    local = "\n".join(f"{name}={_repr(value)}" for name, value in frame.f_locals.items())
                    self.text(f"{outlet} local variables", f"{frame.f_code.co_qualname}: {local}")
                elif Shown.drivers(frame) and found(self.secrets, _repr(dict(frame.f_locals))):
                    self.in_drivers_frames += 1
        if whose is Shown.not_the_users and self.draw.random() < 0.02:
            self.text(f"{outlet} traceback", "".join(traceback.format_exception(error)))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged, and warned of, in the block."""
        root, handler = logging.getLogger(), Listening()
        before = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                yield
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
        for each in warned:
            self.show("warnings", each.message)
        for record in list(handler.records):
            self._log_record(record)

    def _log_record(self, record: logging.LogRecord) -> None:
        whose = "ours" if record.name.startswith(_OURS) else "the driver's"
        if record.name.startswith("asyncio"):
            whose = "asyncio's"
        kept = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.text(f"log records, {whose}", f"{record.getMessage()}\n{_repr(kept)}")
        if record.exc_info and record.exc_info[1] is not None:
            self.error(record.exc_info[1], outlet="logged error")

    def leaks(self) -> list[tuple[str, str]]:
        """The outlets that showed a secret, each with the place."""
        leaks = []
        for outlet, text in self.outlets:
            if parts := found(self.secrets, text):
                leaks.append((outlet, _around(text, parts[0])))
        return leaks


class Findings:
    """The sums over all inputs."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.outlets: Counter[str] = Counter()
        self.leaks: list[str] = []
        self.leaking: Counter[str] = Counter()
        self.in_drivers_frames = 0

    def add(self, record: Record, label: str) -> None:
        """Count one input, and look for its secrets in all that it showed."""
        assert record.secrets, f"{label} has no secret"
        self.kinds[record.kind] += 1
        self.outlets.update(outlet for outlet, _ in record.outlets)
        self.in_drivers_frames += record.in_drivers_frames
        for outlet, place in record.leaks():
            self.leaking[f"{record.kind}: {outlet}"] += 1
            if self.leaking[f"{record.kind}: {outlet}"] <= 3:
                self.leaks.append(f"{label}: {outlet}: {place}")

    def merge(self, other: Findings) -> None:
        """Add another's sums."""
        self.kinds += other.kinds
        self.outlets += other.outlets
        self.leaking += other.leaking
        self.leaks += other.leaks
        self.in_drivers_frames += other.in_drivers_frames

    def table(self) -> str:
        """How many of what kind, how many texts by outlet, and the leaks."""
        lines = [f"\n{'inputs':>10}  kind"]
        lines += [f"{count:>10,}  {kind}" for kind, count in self.kinds.most_common()]
        lines += [f"{self.kinds.total():>10,}  in all", f"\n{'texts':>10}  outlet"]
        lines += [f"{count:>10,}  {outlet}" for outlet, count in self.outlets.most_common()]
        lines += [f"{self.outlets.total():>10,}  in all, {sum(self.leaking.values())} with a part of a secret"]
        lines += [
            f"\n{self.in_drivers_frames:,} frames of the driver's own held one, in errors of the user's operations"
        ]
        lines += [f"LEAK {leak}" for leak in self.leaks]
        return "\n".join(lines)


def _chain(error: BaseException) -> list[BaseException]:
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or any(each is known for known in seen):
            continue
        seen.append(each)
        pending += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
    return seen


def _notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", ()))


def _both(value: object) -> str:
    return f"{_repr(value)} {_str(value)}"


def _repr(value: Any) -> str:
    try:
        return repr(value)[:_LONGEST]
    except Exception as error:  # values of the user's may refuse
        return f"<{type(error).__name__}>"


def _str(value: Any) -> str:
    try:
        return str(value)[:_LONGEST]
    except Exception as error:  # likewise
        return f"<{type(error).__name__}>"


def _around(text: str, part: str) -> str:
    place = text.find(part)
    return text[:160] if place < 0 else text[max(place - 120, 0) : place + 60]
