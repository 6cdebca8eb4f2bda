"""Where a secret could show: every rendering of a result or of an error, in one string."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from async_mongo_pool.config import ClientSettings

_OURS = "async_mongo_pool"


def forms(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1]}


def shown_by_settings(settings: ClientSettings) -> str:
    logged = logging.LogRecord("x", logging.INFO, "x", 1, "%s %r", (settings, settings), None).getMessage()
    parts: list[Any] = [
        logged,
        f"{settings}",
        settings.explain(),
        settings.pool_config,
        settings.masked_uri,
        settings.client_options,
        settings.key,
        settings.redactor,
        settings.warnings,
        settings.differing(settings),
        settings.value("password"),
        settings.value("tlsCertificateKeyFilePassword"),
    ]
    return "\n".join(f"{part!r} {part}" for part in parts)


def shown_by_error(error: BaseException) -> str:
    """Render an error, its chain, and the local variables of our frames (not of the test's)."""
    parts = []
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or current in seen:
            continue
        seen.append(current)
        parts += [str(current), repr(current), repr(current.args), repr(vars(current))]
        frames = traceback.walk_tb(current.__traceback__)
        ours = ((frame, line) for frame, line in frames if frame.f_globals["__name__"].startswith(_OURS))
        parts += [
            f"{each.name} {each.locals}" for each in traceback.StackSummary.extract(ours, capture_locals=True)
        ]
        pending += [current.__cause__, current.__context__]
    return "\n".join(parts)


def found(secrets: Iterable[str], text: str) -> list[str]:
    return [form for secret in secrets for form in forms(secret) if form in text]
