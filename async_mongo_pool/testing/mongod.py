"""A mongod of our own: started, watched, ended and cleaned up after."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Self

from pymongo.errors import PyMongoError

from async_mongo_pool.testing.errors import ServerError
from async_mongo_pool.testing.locate import existing_uri, locate_mongod
from async_mongo_pool.testing.ports import HOST, PortReservation
from async_mongo_pool.testing.process import SupervisedProcess
from async_mongo_pool.testing.server import ExistingServer, Server, open_client
from async_mongo_pool.testing.tls import Certificates, TlsFiles, write_secret
from async_mongo_pool.testing.users import User, build_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Mongod", "open_server"]

_ADDRESS_IN_USE = 48
_READY = "waiting for connections"
_INTERVAL = 0.02
_EXIT_LIMIT = 15.0


def open_server() -> Server:
    """The server to test with, not yet started: that of ``MONGODB_URI`` if set, else a mongod of our own.

    Raises:
        MongodNotFoundError: There is neither.
    """
    uri = existing_uri()
    return ExistingServer(uri) if uri is not None else Mongod()


class Mongod(Server):
    """A standalone mongod in a process and a temporary directory of its own, on a free port of 127.0.0.1.

    The directory is removed and the process is gone after `stop`, and also when this process is killed.

    Args:
        auth: Whether users must authenticate. Default False. There is then a user ``root`` with every right.
        users: More users, created at the start; needs `auth`.
        tls: Whether only TLS is spoken; `Certificates`, to share them between servers. Default False.
        client_certificate_required: Whether clients must show a certificate; needs `tls`. Default False.
        parameters: Server parameters (``--setParameter``), over ours; ``enableTestCommands`` is 1 by default.
        arguments: More arguments of mongod's command line.
        port: The port. Default: a free one.
        binary: The mongod to run. Default: the one on PATH, else that of the ``embedded`` extra.
        start_timeout: Seconds until it must accept connections. Default 30.
        keep_logs_in: A directory to which the log is copied at `stop`. Default: it is not kept.
        replica_set: The name of the replica set it will be in; `ReplicaSet` sets it. Default: standalone.
        cluster_key: The secret that the members of a replica set with `auth` share.

    Attributes:
        root: The user with every right, None without `auth`.
        certificates: What TLS works with, None without `tls`.
        tls_files: The same as files; they exist from `start` to `stop`.

    Raises:
        MongodNotFoundError: There is no mongod to run.
    """

    def __init__(
        self,
        *,
        auth: bool = False,
        users: Sequence[User] = (),
        tls: bool | Certificates = False,
        client_certificate_required: bool = False,
        parameters: Mapping[str, str | int] | None = None,
        arguments: Sequence[str] = (),
        port: int | None = None,
        binary: str | Path | None = None,
        start_timeout: float = 30.0,
        keep_logs_in: str | Path | None = None,
        replica_set: str | None = None,
        cluster_key: str | None = None,
    ) -> None:
        if users and not auth:
            raise ValueError("users need auth=True")
        self.root = User("root", token_urlsafe(12), ("root",)) if auth else None
        self.users = tuple(users)
        self.certificates = Certificates() if tls is True else tls or None
        self.tls_files: TlsFiles | None = None
        self._client_certificate_required = client_certificate_required
        self._parameters = {"enableTestCommands": 1, "diagnosticDataCollectionEnabled": "false"} | dict(
            parameters or {}
        )
        self._arguments = tuple(arguments)
        self._fixed_port = port
        self._binary = Path(binary) if binary is not None else locate_mongod()
        self._start_timeout = start_timeout
        self._keep_logs_in = Path(keep_logs_in) if keep_logs_in is not None else None
        self._replica_set = replica_set
        self._cluster_key = cluster_key
        self._reservation: PortReservation | None = None
        self._process: SupervisedProcess | None = None
        self._log_offset = 0
        self._was_ready = False

    def __repr__(self) -> str:
        if self._process is None:
            return "<Mongod stopped>"
        state = f"pid {self._process.pid}" if self._process.running() else "not running"
        return f"<Mongod {self.host}:{self.port}, {state}>"

    @property
    def host(self) -> str:
        """The host: 127.0.0.1."""
        return HOST

    @property
    def port(self) -> int:
        """The port.

        Raises:
            ServerError: The server was not started.
        """
        if self._reservation is None:
            raise ServerError("the server was not started: it has no port")
        return self._reservation.port

    @property
    def pid(self) -> int:
        """The process id of mongod.

        Raises:
            ServerError: It does not run.
        """
        process = self._started()
        if not process.running() or process.pid is None:
            raise ServerError(f"mongod does not run (exit code {process.exit_code})")
        return process.pid

    @property
    def directory(self) -> Path:
        """Where its data, log and certificates are; gone after `stop`."""
        return self._started().directory

    @property
    def uri(self) -> str:
        """The connection string: as ``root`` where there is authentication, verified where there is TLS."""
        return self.uri_for(self.root)

    def uri_for(self, user: User | None) -> str:
        """The connection string of this user; None for one without credentials.

        Args:
            user: One of `users`, `root`, or any other, to see it refused.
        """
        options: dict[str, str] = {}
        if self._replica_set is not None:
            options["directConnection"] = "true"
        return build_uri([f"{self.host}:{self.port}"], user, self.tls_files, options)

    def start(self) -> Self:
        """Start it and return it when it accepts connections and has its users; nothing happens when it runs.

        Raises:
            ServerError: It did not start; nothing is left of it.
        """
        if self._process is not None and self._process.running():
            return self
        try:
            self.launch()
            self.wait_ready()
            if self._replica_set is None:
                self.create_users()
        except BaseException:
            self.stop()
            raise
        return self

    def launch(self) -> None:
        """The first half of `start`: the process exists. `wait_ready` follows; several servers overlap so."""
        self.stop()
        self._was_ready = False
        self._reservation = PortReservation(self._fixed_port)
        self._process = SupervisedProcess()
        (self._process.directory / "data").mkdir()
        if self.certificates is not None:
            self.tls_files = self.certificates.write(self._process.directory)
        if self._cluster_key is not None:
            write_secret(self._process.directory / "cluster.key", self._cluster_key.encode())
        self._run()

    def wait_ready(self) -> None:
        """The second half of `start`: it accepts connections.

        Raises:
            ServerError: It ended, or does not accept connections in time.
        """
        process = self._started()
        deadline = time.monotonic() + self._start_timeout
        # The log, not a ping: on a port that we lost to another server, the other one would answer the ping.
        while _READY not in process.log_since(self._log_offset).lower():
            expired = time.monotonic() >= deadline
            if not process.running():
                if process.exit_code != _ADDRESS_IN_USE or expired:
                    raise process.failure("mongod to accept connections", self._start_timeout)
                self._take_another_port()
                self._run()
            elif expired:
                raise process.failure("mongod to accept connections", self._start_timeout)
            time.sleep(_INTERVAL)
        self._was_ready = True

    def stop(self) -> None:
        """Kill it and remove its directory, the log copied before if it is kept; nothing happens twice.

        Raises:
            ServerError: It was not gone after 15 s.
        """
        process, reservation = self._process, self._reservation
        self._process = self._reservation = self.tls_files = None
        try:
            if process is not None:
                if self._keep_logs_in is not None and reservation is not None:
                    _copy_log(process.log, self._keep_logs_in, reservation.port)
                process.close()
        finally:
            if reservation is not None:
                reservation.release()

    def kill(self) -> None:
        """End mongod at once (SIGKILL) and wait for it; its data stays, `restart` brings it back."""
        process = self._started()
        process.signal(signal.SIGKILL)
        self._wait_exit(process)

    def suspend(self) -> None:
        """Freeze mongod (SIGSTOP): connections stay, no answer comes."""
        self._started().signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended mongod continue (SIGCONT)."""
        self._started().signal(signal.SIGCONT)

    def restart(self) -> None:
        """Shut mongod down cleanly, if it runs, and start it again: same port, same data.

        Raises:
            ServerError: It did not end or start in time.
        """
        process = self._started()
        process.require_owner()
        if process.running():
            self._shut_down(process)
        self._run()
        self.wait_ready()

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of mongod's log; empty when it was stopped.

        Args:
            lines: How many. Default 30.
        """
        return self._process.log_tail(lines) if self._process is not None else ""

    def copy_log(self, directory: str | Path) -> Path:
        """Copy the log, up to now, to ``mongod-<port>.log`` in `directory`, and return that file.

        Args:
            directory: Made if it does not exist.

        Raises:
            ServerError: The server was not started.
        """
        return _copy_log(self._started().log, Path(directory), self.port)

    def create_users(self) -> None:
        """Create ``root``, by the exception for localhost, and the other users; nothing without `auth`.

        Raises:
            ServerError: The server refused.
        """
        if self.root is None:
            return
        with self._asking("the first user"), open_client(self.uri_for(None), directConnection=True) as client:
            client.admin.command("createUser", self.root.username, pwd=self.root.password, roles=["root"])
        with self._asking("the users"), self.client() as client:
            for user in self.users:
                client[user.database].command(user.creation())

    def _started(self) -> SupervisedProcess:
        if self._process is None:
            raise ServerError("the server was not started")
        return self._process

    def _answers(self) -> bool:
        return self._process is not None and self._process.running()

    def _run(self) -> None:
        process = self._started()
        self._log_offset = process.log_size()
        process.start(self._command_line(process.directory))

    def _take_another_port(self) -> None:
        """Somebody who reserves nothing was faster. A port that clients know already is tried again."""
        if self._was_ready or self._fixed_port is not None or self._reservation is None:
            return
        lost = self._reservation
        self._reservation = PortReservation()
        lost.release()

    def _shut_down(self, process: SupervisedProcess) -> None:
        process.signal(signal.SIGCONT)
        try:
            with self.client() as client:
                client.admin.command("shutdown", force=True, timeoutSecs=0)
        except PyMongoError:
            pass  # the usual answer is a closed connection; what counts is the end of the process
        self._wait_exit(process)

    def _wait_exit(self, process: SupervisedProcess) -> None:
        if not process.wait_exit(_EXIT_LIMIT):
            raise process.failure("mongod to end", _EXIT_LIMIT)

    def _command_line(self, directory: Path) -> list[str]:
        command = [str(self._binary), "--dbpath", str(directory / "data"), "--port", str(self.port)]
        command += ["--bind_ip", HOST, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
        for name, value in self._parameters.items():
            command += ["--setParameter", f"{name}={value}"]
        if self._replica_set is not None:
            command += ["--replSet", self._replica_set, "--oplogSize", "16"]
        if self.root is not None:
            command += ["--auth"]
        if self._cluster_key is not None:
            command += ["--keyFile", str(directory / "cluster.key")]
        return [*command, *self._tls_arguments(), *self._arguments]

    def _tls_arguments(self) -> list[str]:
        if self.tls_files is None:
            return []
        files = ["--tlsCertificateKeyFile", str(self.tls_files.server_file)]
        files += ["--tlsCAFile", str(self.tls_files.ca_file)]
        optional = [] if self._client_certificate_required else ["--tlsAllowConnectionsWithoutCertificates"]
        return ["--tlsMode", "requireTLS", *files, *optional]


def _copy_log(log: Path, directory: Path, port: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / f"mongod-{port}.log"
    if log.exists():
        shutil.copyfile(log, kept)
    return kept
