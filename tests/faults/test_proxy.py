"""The fault proxy does what it is told, one fault at a time, and leaves nothing; plain sockets, no database."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.timing import now

from .proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 5.0


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while True:
            try:
                data = self.request.recv(65536)
                if not data:
                    return
                self.request.sendall(data)
            except OSError:
                return


class _EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    # Joined when the server is closed: a test leaves no thread.
    daemon_threads = False
    request_queue_size = 128


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    with _EchoServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield ("127.0.0.1", server.server_address[1])
        server.shutdown()
        thread.join(LIMIT)


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[FaultProxy]:
    with FaultProxy(echo) as running:
        yield running


@contextmanager
def connected(proxy: FaultProxy, timeout: float = LIMIT) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout) as client:
        yield client


def said(client: socket.socket, length: int) -> bytes:
    """Exactly so many bytes, or fewer when the other side has ended."""
    received = b""
    while len(received) < length and (data := client.recv(length - len(received))):
        received += data
    return received


def asked(client: socket.socket, data: bytes = b"hello") -> bytes:
    client.sendall(data)
    return said(client, len(data))


def test_without_a_fault_everything_passes(proxy: FaultProxy, wait_until: Callable[..., None]) -> None:
    data = bytes(range(256)) * 20_000
    with connected(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert said(client, len(data)) == data
        sender.join(LIMIT)
        counts = proxy.counts()
    assert (counts.accepted, counts.live) == (1, 1)
    assert counts.to_server == counts.to_client == len(data)
    wait_until(lambda: proxy.counts().live == 0)
    assert proxy.counts().to_client == len(data)


def test_the_end_of_one_side_reaches_the_other_after_all_bytes(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert said(client, 100) == b"last words"


@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_latency_makes_bytes_late_and_not_fewer(proxy: FaultProxy, way: str) -> None:
    data = b"x" * 2_000_000
    with connected(proxy) as client:
        proxy.latency(**{way: 0.3})
        began = now()
        assert asked(client) == b"hello"
        assert 0.3 <= now() - began < 1
        began = now()
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert said(client, len(data)) == data
        # Thirty chunks of 64 kB, each 0.3 s late, and not one after the other.
        assert now() - began < 2
        sender.join(LIMIT)


def test_trickling_keeps_to_its_rate(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        proxy.trickle(to_client=1000)
        began = now()
        assert asked(client, b"x" * 400) == b"x" * 400
        assert 0.3 <= now() - began < 1.5
        proxy.heal()
        began = now()
        assert asked(client, b"x" * 4000) == b"x" * 4000
        assert now() - began < 0.5


@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_a_blackhole_swallows_one_way(proxy: FaultProxy, way: str) -> None:
    other = {"to_server": "to_client", "to_client": "to_server"}[way]
    with connected(proxy) as client:
        assert asked(client) == b"hello"
        before = proxy.counts()
        proxy.blackhole(**{way: True, other: False})
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            asked(client)
        now = proxy.counts()
        assert now.swallowed == 5
        assert now.to_client == before.to_client
        assert now.to_server == before.to_server + (5 if way == "to_client" else 0)
        assert now.live == 1


def test_a_blackhole_accepts_connections(proxy: FaultProxy, wait_until: Callable[..., None]) -> None:
    proxy.blackhole()
    with connected(proxy) as client:
        client.sendall(b"hello")
        wait_until(lambda: proxy.counts().swallowed == 5)


def test_a_healed_blackhole_resets_what_has_gaps_and_keeps_the_rest(proxy: FaultProxy) -> None:
    with connected(proxy) as torn, connected(proxy) as whole:
        assert asked(torn) == asked(whole) == b"hello"
        proxy.blackhole()
        torn.sendall(b"gone")
        torn.settimeout(0.2)
        with pytest.raises(TimeoutError):
            torn.recv(1)
        proxy.heal()
        torn.settimeout(LIMIT)
        with pytest.raises(ConnectionResetError):
            torn.recv(1)
        assert asked(whole) == b"hello"
    assert proxy.counts().reset == 1


def test_a_stream_with_a_gap_is_never_continued(proxy: FaultProxy, wait_until: Callable[..., None]) -> None:
    with connected(proxy) as client:
        assert asked(client) == b"hello"
        proxy.blackhole()
        client.sendall(b"gone")
        wait_until(lambda: proxy.counts().swallowed == 4)
        proxy.blackhole(to_server=False, to_client=False)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            asked(client)
        assert proxy.counts().swallowed == 9


def test_reset_is_a_reset_on_both_sides(echo: tuple[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, FaultProxy(server.getsockname()[:2]) as proxy:
        server.settimeout(LIMIT)
        with connected(proxy) as client:
            behind, _ = server.accept()
            with behind:
                behind.settimeout(LIMIT)
                client.sendall(b"hello")
                assert said(behind, 5) == b"hello"
                assert proxy.reset() == 1
                for side in (client, behind):
                    with pytest.raises(ConnectionResetError):
                        side.recv(1)
        assert proxy.reset() == 0
        assert proxy.counts().live == 0


def test_a_reset_can_spare_some_by_what_they_said_first(proxy: FaultProxy) -> None:
    with connected(proxy) as spared, connected(proxy) as struck, connected(proxy) as silent:
        spared.sendall(b"a member")
        assert said(spared, 8) == b"a member"
        struck.sendall(b"a client")
        assert said(struck, 8) == b"a client"
        struck.sendall(b"a member")
        assert said(struck, 8) == b"a member"
        assert proxy.reset(sparing=b"member") == 2
        for client in (struck, silent):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert asked(spared) == b"hello"


def test_a_reset_of_the_server_reaches_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, FaultProxy(server.getsockname()[:2]) as proxy:
        server.settimeout(LIMIT)
        with connected(proxy) as client:
            behind, _ = server.accept()
            client.sendall(b"unread")
            # Closed with bytes that were not read: the system resets the connection.
            select_until_readable(behind)
            behind.close()
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def select_until_readable(connection: socket.socket) -> None:
    connection.settimeout(LIMIT)
    assert connection.recv(1, socket.MSG_PEEK)


def test_a_closed_port_refuses_and_keeps_what_exists(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        assert asked(client) == b"hello"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError), connected(proxy):
            pass
        assert asked(client) == b"hello"
    proxy.heal()
    with connected(proxy) as client:
        assert asked(client) == b"hello"


def test_cut_is_refuse_and_reset(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        assert asked(client) == b"hello"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError), connected(proxy):
        pass


def test_the_deaf_read_nothing_and_hear_all_of_it_later(proxy: FaultProxy) -> None:
    with connected(proxy) as before:
        assert asked(before) == b"hello"
        proxy.deafen()
        with connected(proxy) as after:
            for client in (before, after):
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    asked(client)
            proxy.heal()
            for client in (before, after):
                client.settimeout(LIMIT)
                assert said(client, 5) == b"hello"
    assert proxy.counts().swallowed == 0


def test_a_sender_to_the_deaf_is_stopped_by_full_buffers(proxy: FaultProxy) -> None:
    proxy.deafen()
    with connected(proxy) as client:
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * 100_000_000)


def test_a_full_backlog_lets_nobody_in_until_healed(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        proxy.stop_accepting()
        for _ in range(3):
            with pytest.raises(TimeoutError), connected(proxy, 0.2):
                pass
        assert asked(client) == b"hello"
    proxy.heal()
    with connected(proxy) as client:
        assert asked(client) == b"hello"


def test_a_server_that_is_gone_resets_its_clients(wait_until: Callable[..., None]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with FaultProxy(nobody.getsockname()) as proxy:
            with pytest.raises(ConnectionResetError), connected(proxy) as client:
                client.recv(1)
            wait_until(lambda: proxy.counts().live == 0)
            assert proxy.counts().refused == 1


def test_connections_are_bounded(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.proxy.MOST_CONNECTIONS", 2)
    with connected(proxy) as first, connected(proxy) as second:
        assert asked(first) == asked(second) == b"hello"
        with pytest.raises(ConnectionResetError), connected(proxy) as third:
            third.recv(1)
        assert (proxy.counts().live, proxy.counts().refused) == (2, 1)


FAULTS: list[Callable[[FaultProxy], Any]] = [
    lambda proxy: proxy.latency(10, 10),
    lambda proxy: proxy.trickle(1, 1),
    FaultProxy.blackhole,
    FaultProxy.deafen,
    FaultProxy.stop_accepting,
    FaultProxy.refuse,
    FaultProxy.reset,
    FaultProxy.heal,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_it_stops_at_once_in_the_middle_of_every_fault(
    echo: tuple[str, int], fault: Callable[[FaultProxy], Any]
) -> None:
    with FaultProxy(echo) as proxy:
        with connected(proxy) as client:
            client.sendall(b"x" * 100_000)
            fault(proxy)
            began = now()
            proxy.stop()
            assert now() - began < 1
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                # What was delivered before may still be there.
                said(client, 1_000_000)
        proxy.stop()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_heals(proxy: FaultProxy, fault: Callable[[FaultProxy], Any]) -> None:
    fault(proxy)
    proxy.heal()
    with connected(proxy) as client:
        assert asked(client) == b"hello"


def test_faults_may_follow_one_another_in_any_order(proxy: FaultProxy) -> None:
    for fault in (*FAULTS, *reversed(FAULTS), *FAULTS):
        fault(proxy)
    proxy.heal()
    with connected(proxy) as client:
        assert asked(client) == b"hello"


async def test_it_can_be_controlled_from_an_event_loop(proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    proxy.latency(to_client=0.1)
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), LIMIT) == b"hello"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), LIMIT)
    writer.close()


def test_a_port_that_is_taken_says_so() -> None:
    with FaultProxy(("127.0.0.1", 1)) as proxy, pytest.raises(Exception, match="no free port"):
        FaultProxy(("127.0.0.1", 1), proxy.port).start()
