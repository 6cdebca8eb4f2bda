"""The transactions of one client that are open now, as far as its operations told."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymongo.synchronous.client_session import ClientSession

__all__ = ["OpenTransactions"]

_FEW = 64


class OpenTransactions:
    """Sessions that were seen in a transaction, held weakly: an abandoned one counts until it is collected."""

    def __init__(self) -> None:
        self._seen: dict[int, weakref.ref[ClientSession]] = {}
        self._clear_at = _FEW

    def add(self, session: ClientSession) -> None:
        """Remember a session that is in a transaction."""
        known = self._seen.get(id(session))
        if known is not None and known() is session:
            return
        if len(self._seen) >= self._clear_at:
            self._seen = {key: each for key, each in self._seen.items() if _is_open(each)}
            self._clear_at = max(_FEW, 2 * len(self._seen))
        self._seen[id(session)] = weakref.ref(session)

    def any_open(self) -> bool:
        """Whether one of them still is; those that are not are forgotten on the way."""
        while self._seen:
            key, first = next(iter(self._seen.items()))
            if _is_open(first):
                return True
            del self._seen[key]
        return False


def _is_open(reference: weakref.ref[ClientSession]) -> bool:
    session = reference()
    return session is not None and session.in_transaction
