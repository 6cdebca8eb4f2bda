"""A name server on loopback that is silent, or knows nothing, or answers late."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["NameServer"]


class NameServer:
    """A context manager: it answers from a thread of its own.

    Args:
        port: Its UDP port on 127.0.0.1; 0 for a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._socket.settimeout(0.05)
        self._over = False
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)
        self.port: int = self._socket.getsockname()[1]
        self.questions = self.answers = 0
        self.mode = "silent"
        """Or "unknown": no such name; or "found": an SRV record that names one server, and nothing else."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._over:
            try:
                question, sender = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.questions += 1
            if self.mode != "silent":
                self.answers += 1
                self._socket.sendto(self._answer(dns.message.from_wire(question)).to_wire(), sender)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        asked = question.question[0]
        if self.mode == "found" and asked.rdtype == dns.rdatatype.SRV:
            # The driver takes no server outside the cluster's own domain.
            domain = asked.name.parent().parent().parent()
            record = dns.rrset.from_text(asked.name, 60, "IN", "SRV", f"0 0 27017 server.{domain}")
            answer.answer.append(record)
        elif self.mode == "unknown":
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
