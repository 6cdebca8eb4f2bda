"""A clock that only moves when somebody sleeps, and the course of a call on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tenacity

from async_mongo_pool.retry.course import Course
from async_mongo_pool.retry.state import RetryState
from async_mongo_pool.retry.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable


def nothing() -> None:
    """Nobody waits for a server here."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Bench:
    """Runs a function as a pool would, on the fake clock and with a jitter that is known."""

    def __init__(self, draw: Callable[[], float] = lambda: 0.5) -> None:
        self.clock = Clock()
        self.state = RetryState(self.clock)
        self.draw = draw
        self.asked: list[bool] = []

    def run(self, function: Callable[[], Any], **terms: Any) -> Any:
        course = Course("Bench", self.state, Terms(**terms), nothing, self.draw)

        def attempt() -> Any:
            with course.attempt():
                return function()

        try:
            result = attempt()
        except Exception as error:
            if course.passes_on(error):
                self.asked.append(False)
                raise
            result = self._again(course, attempt, error)
        course.succeeded()
        return result

    def _again(self, course: Course, attempt: Callable[[], Any], first: Exception) -> Any:
        failed = [first]

        def next_attempt() -> Any:
            if failed:
                raise failed.pop()
            return attempt()

        try:
            return tenacity.Retrying(sleep=self.clock.sleep, **course.controls())(next_attempt)
        except Exception as error:
            self.asked.append(course.gave_up(error))
            raise


class Failing:
    """Raises these errors in turn, each after some seconds, and then returns "done"."""

    def __init__(self, *errors: BaseException, clock: Clock | None = None, takes: float = 0.0) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.clock = clock
        self.takes = takes

    def __call__(self, *_: Any) -> str:
        self.calls += 1
        if self.clock is not None:
            self.clock.now += self.takes
        if self.errors:
            raise self.errors.pop(0)
        return "done"
