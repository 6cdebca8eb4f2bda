"""Retries and time limits: ``run``, ``retrying`` and ``operation`` of both pools, and what they count."""

from __future__ import annotations

from .operation import OperationLimit

__all__ = ["OperationLimit"]
