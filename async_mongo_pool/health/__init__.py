"""Health: whether the process lives, whether the pool can serve, and a monitor that keeps looking."""

from __future__ import annotations

from .mixins import AsyncHealth, SyncHealth
from .monitor import AsyncHealthMonitor, HealthMonitor
from .results import Liveness, Readiness, ServerHealth

__all__ = [
    "AsyncHealth",
    "AsyncHealthMonitor",
    "HealthMonitor",
    "Liveness",
    "Readiness",
    "ServerHealth",
    "SyncHealth",
]
