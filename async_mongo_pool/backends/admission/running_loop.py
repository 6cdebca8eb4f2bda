"""The ``io_loop`` that Motor is given: whichever loop is running, with our workers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from async_mongo_pool.errors import PoolLoopError
from async_mongo_pool.loops import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from .admission import MotorAdmission

__all__ = ["RunningLoop"]


class RunningLoop(asyncio.AbstractEventLoop):
    """Given to Motor as its ``io_loop``: whichever loop is running at each call, with our workers.

    So one client serves one ``asyncio.run`` after another and several loops in several threads at once.

    Args:
        admission: Where the client's operations go.
    """

    def __init__(self, admission: MotorAdmission) -> None:
        self._admission = admission

    # What Motor itself uses, written out because these are on the path of every operation.

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Every operation of the client comes here; Motor's own executor is not used."""
        return self._admission.submit(partial(func, *args) if args else func)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the running loop."""
        return self.running().create_future()

    def running(self) -> asyncio.AbstractEventLoop:
        """The loop that runs in this thread.

        Raises:
            PoolLoopError: None does.
        """
        loop = running_loop()
        if loop is None:
            raise PoolLoopError.no_loop(self._admission.pool)
        return loop


def _forward(name: str) -> Callable[..., Any]:
    def method(self: RunningLoop, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.running(), name)(*args, **kwargs)

    method.__name__ = name
    return method


for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("__") and _name not in vars(RunningLoop):
        setattr(RunningLoop, _name, _forward(_name))
del _name
