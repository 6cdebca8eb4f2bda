"""Retries and time limits: ``run``, ``retrying`` and ``operation`` of both pools, and what they count."""

from __future__ import annotations

from .counts import REASONS, RetryStats
from .operation import OperationLimit

__all__ = ["REASONS", "OperationLimit", "RetryStats"]
