"""A connection string whose servers the DNS names, and a name server that cannot tell them."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.resolver
import pytest
from pymongo.errors import ConfigurationError

from tests.timing import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .subjects import Subject

URI = "mongodb+srv://cluster0.example.com/?tls=false"


@contextmanager
def name_server(answer: dns.rcode.Rcode) -> Iterator[int]:
    """Answer every question so; the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, asker = listening.recvfrom(4096)
                if not data:
                    return
                reply = dns.message.make_response(dns.message.from_wire(data))
                reply.set_rcode(answer)
                listening.sendto(reply.to_wire(), asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", listening.getsockname())
            thread.join(10)


def ask_only(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, kind in ((dns.resolver, dns.resolver.Resolver), (dns.asyncresolver, dns.asyncresolver.Resolver)):
        resolver = kind(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], port
        monkeypatch.setattr(module, "default_resolver", resolver)


async def test_a_name_server_that_fails_now_may_answer_later(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with name_server(dns.rcode.SERVFAIL) as port:
        ask_only(port, monkeypatch)
        began = now()
        with pytest.raises(ConfigurationError, match="nameservers failed"):
            await subject.initialize(URI, timeout=2, retry_for=0.5)
        assert now() - began >= 0.5
        client = await subject.initialize(URI, timeout=2, on_failure="degraded")
        assert subject.pool.get_client() is client
        await subject.close(timeout=1)


async def test_a_name_that_does_not_exist_is_not_asked_for_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with name_server(dns.rcode.NXDOMAIN) as port:
        ask_only(port, monkeypatch)
        began = now()
        with pytest.raises(ConfigurationError, match="does not exist"):
            await subject.initialize(URI, timeout=2, retry_for=30, on_failure="degraded")
        assert now() - began < 5
    assert subject.pool.get_client() is None
