"""Calls of the pools that fail before anything is opened: what cannot be used, and callables that fail."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from tests.pools.subjects import Subject

from . import material

if TYPE_CHECKING:
    from collections.abc import Callable

    from .record import Record

__all__ = ["BACKENDS", "refused"]

BACKENDS = ("motor", "pymongo", "sync")

_subjects: dict[str, Subject] = {}


def subject_of(record: Record) -> Subject:
    """One pool of each backend serves all inputs."""
    backend = record.draw.choice(BACKENDS)
    if backend not in _subjects:
        _subjects[backend] = Subject(backend)
    return _subjects[backend]


async def refused(record: Record) -> None:
    """One call that is refused, and what it leaves."""
    subject = subject_of(record)
    try:
        await _call(record, subject)
    except Exception as error:
        record.error(error)
    else:
        raise AssertionError("this was to be refused")
    record.show("repr of a pool", subject.pool(), subject.pool)
    record.show("repr of a pool", vars(subject.pool._lifecycle))
    record.show("get_pool_stats()", await subject.stats())
    await subject.close()


async def _call(record: Record, subject: Subject) -> None:
    draw = record.draw
    connection, options = _what(record)
    if draw.random() < 0.5:
        await subject.initialize(connection, **options)
    elif draw.random() < 0.3:
        await subject.call(subject.pool.rotate, connection, **options)
    elif callable(connection) or draw.random() < 0.5:
        async with subject.scope(connection, **options):
            pass
    else:
        subject.pool.configure(connection, **options)


def _what(record: Record) -> tuple[Any, dict[str, Any]]:
    draw = record.draw
    good = material.address(record, valid=True)
    # Two names for one place: refused in any case, whatever the rest is.
    bad = draw.choice(("http://u:{}@h/", "mongodb://u:{}/@h", "mongodb://u:{}@h/?maxPolSize=3", "{}"))
    address = bad.format(material.written(record))
    choices: list[tuple[Any, dict[str, Any]]] = [
        (address, {}),
        (address, material.options(record)),
        (good, material.broken(record)),
        (good, {**material.options(record), "maxPolSize": 5}),
        (good, {"timeout": "soon"}),
        (good, {"preset": "prod"}),
        (good.encode(), {}),
        ([good], {}),
        (_callable(record, lambda: address), {}),
        (_callable(record, lambda: good), {"maxPolSize": 5, "password": record.secret()}),
        (_callable(record, lambda: good.encode()), {}),
        (_callable(record, partial(_raise, ValueError(f"cannot parse {good}"))), {}),
        (_callable(record, partial(_raise, PyMongoError(f"cannot parse {good}"))), material.options(record)),
        (_callable(record, partial(_raise, OSError(2, f"no {good}", good))), {}),
    ]
    return draw.choice(choices)


def _callable(record: Record, answer: Callable[[], Any]) -> Callable[[], Any]:
    """A callable of each sort, most of which show a secret when they are shown."""
    secret = record.secret()

    async def later() -> Any:
        return answer()

    def now() -> Any:
        return answer()

    return record.draw.choice(
        (now, later, material.Credentials(secret, answer), partial(_ignoring, answer, secret))
    )


def _ignoring(answer: Callable[[], Any], secret: str) -> Any:
    return answer() if secret else None


def _raise(error: Exception) -> Any:
    raise error
