"""Which names are looked up, when the driver may begin, and how the time of a call is shared out."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from pymongo.errors import ConfigurationError

from async_mongo_pool import names
from async_mongo_pool.bounds import close_grace, margin, time_to_close
from async_mongo_pool.diagnosis import is_unreachable
from async_mongo_pool.names import NameLookup, names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.core


class Resolver:
    """Answers for each name when it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, bool] = {}
        self.asked: list[str] = []
        self._changed = threading.Condition()

    def answer(self, name: str, found: bool) -> None:
        with self._changed:
            self.answers[name] = found
            self._changed.notify_all()

    def __call__(self, name: str) -> bool:
        with self._changed:
            self.asked.append(name)
            self._changed.wait_for(lambda: name in self.answers, 10)
            return self.answers[name]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(names, "_is_found", made)
    yield made
    for name in made.asked:
        made.answer(name, False)


def test_one_name_that_is_found_is_enough(resolver: Resolver) -> None:
    lookup = NameLookup(["a", "b", "c"])
    resolver.answer("b", False)
    assert not lookup.enough.done()
    resolver.answer("c", True)
    lookup.enough.result(5)
    assert "a" in lookup.stage


def test_names_that_nobody_knows_are_enough_when_all_are_answered(
    resolver: Resolver, wait_until: Callable[..., None]
) -> None:
    lookup = NameLookup(["a", "b"])
    resolver.answer("a", False)
    wait_until(lambda: lookup.stage == "resolving the host name b (DNS)")
    assert not lookup.enough.done()
    resolver.answer("b", False)
    lookup.enough.result(5)


def test_who_asks_again_waits_for_the_same_lookup_and_later_asks_anew(resolver: Resolver) -> None:
    lookups = [NameLookup(["a"]) for _ in range(20)]
    resolver.answer("a", True)
    for lookup in lookups:
        lookup.enough.result(5)
    assert resolver.asked == ["a"]
    NameLookup(["a"]).enough.result(5)
    assert resolver.asked == ["a", "a"]


def test_where_there_is_nothing_to_look_up_the_driver_begins_at_once() -> None:
    assert NameLookup([]).enough.done()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://localhost/", ["localhost"]),
        ("mongodb://user:secret@A.example.test:27018,b.example.test/", ["a.example.test", "b.example.test"]),
        ("mongodb://127.0.0.1:27017,[::1]:27017/", []),
        ("mongodb://%2Ftmp%2Fmongodb.sock/", []),
        ("mongodb+srv://cluster.example.test/", []),
    ],
)
def test_which_names_are_looked_up(uri: str, expected: list[str]) -> None:
    assert names_in(uri) == expected


@pytest.mark.parametrize("timeout", [0.1, 0.5, 1.0, 5.0, 60.0])
def test_no_share_exceeds_a_tenth_or_a_fifth_of_a_second(timeout: float) -> None:
    now = time.monotonic()
    assert 0 < margin(timeout) <= timeout / 10
    assert 0 <= time_to_close(timeout, now) <= max(timeout / 10, 0.2)
    assert time_to_close(timeout, now - 0.5) == 0
    assert time_to_close(timeout, now + 60) <= 1
    assert 0 < close_grace(timeout) <= max(timeout / 10, 0.2)


@pytest.mark.parametrize(
    ("text", "unreachable"),
    [
        ("The resolution lifetime expired after 5.1 seconds: Server Do53:127.0.0.1@53 answered", True),
        ("All nameservers failed to answer the query _mongodb._tcp.cluster.example.test. IN SRV", True),
        ("The DNS query name does not exist: _mongodb._tcp.nothing.invalid.", False),
        ("tls is not possible here", False),
    ],
)
def test_silent_name_servers_are_no_wrong_configuration(text: str, unreachable: bool) -> None:
    assert is_unreachable(ConfigurationError(text)) is unreachable
