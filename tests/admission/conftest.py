"""An admission without a server, for the tests of its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make_desk() -> Iterator[Callable[..., Desk]]:
    """`make_desk(limit=1, **options of MotorAdmission)`."""
    made: list[Desk] = []

    def make(limit: int = 1, **options: object) -> Desk:
        made.append(Desk(limit, **options))
        return made[-1]

    yield make
    for desk in made:
        desk.open_all()
        desk.admission.stop()
