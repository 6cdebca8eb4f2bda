"""Throw-away certificates for servers and their clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from async_mongo_pool.testing.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Certificates", "TlsFiles"]


@dataclass(frozen=True)
class TlsFiles:
    """Certificates as files, as mongod and the drivers want them.

    Attributes:
        ca_file: The certificate authority's certificate (`tlsCAFile`).
        server_file: The server's key and certificate, for localhost, 127.0.0.1 and ::1.
        client_file: A client's key and certificate (`tlsCertificateKeyFile`).
    """

    ca_file: Path
    server_file: Path
    client_file: Path


class Certificates:
    """A certificate authority of its own, with a certificate for servers and one for clients.

    Attributes:
        client_subject: The client certificate's subject: the name of the ``$external`` user for X.509.

    Raises:
        ServerError: `trustme`, of the ``embedded`` extra, is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
            from cryptography.x509 import load_pem_x509_certificate
        except ImportError as error:
            raise ServerError('TLS needs trustme: pip install "async_mongo_pool[embedded]"') from error
        self._authority = trustme.CA()
        self._server = self._authority.issue_cert("localhost", "127.0.0.1", "::1")
        self._client = self._authority.issue_cert("client@localhost", common_name="client")
        certificate = load_pem_x509_certificate(self._client.cert_chain_pems[0].bytes())
        self.client_subject: str = certificate.subject.rfc4514_string()

    def write(self, directory: Path) -> TlsFiles:
        """Write them to files in `directory`, readable by the owner alone."""
        files = TlsFiles(directory / "ca.pem", directory / "server.pem", directory / "client.pem")
        write_secret(files.ca_file, self._authority.cert_pem.bytes())
        write_secret(files.server_file, self._server.private_key_and_cert_chain_pem.bytes())
        write_secret(files.client_file, self._client.private_key_and_cert_chain_pem.bytes())
        return files


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read: mongod refuses a key that others can."""
    path.touch(mode=0o600)
    path.write_bytes(content)
