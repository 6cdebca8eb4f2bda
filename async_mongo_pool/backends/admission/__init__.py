"""The admission: Motor's way from ``await`` to a worker thread and back, one for each client.

Motor runs every operation of every client on one process-wide pool of ``cpu_count * 5`` threads, in front of
the connections: 100 connections on two cores serve 10 operations at a time, no event shows the queue, and
waitQueueTimeoutMS never fires. Here each client has workers of its own, as many as connections, entered through
the public ``io_loop`` argument of ``AsyncIOMotorClient``.

What is decided is pure and stands in ``calls`` (what kind of work), ``line`` (who is next, and until when),
``transactions``, ``limits``, ``throttle`` (how many threads are worth it) and ``schedule``, which joins them.
What touches threads and loops is thin: ``worker``, ``mailbox``, and ``admission``, which holds the lock.
"""

from .admission import MotorAdmission
from .limits import WaitLimits
from .running_loop import RunningLoop

__all__ = ["MotorAdmission", "RunningLoop", "WaitLimits"]
