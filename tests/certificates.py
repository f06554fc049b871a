"""Certificates for tests, made by the `openssl` command: self-signed, for the loopback."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key, and the environment that has a gateway serve them."""

    certificate: Path
    key: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"EXECGATE_TLS_CERT": str(self.certificate), "EXECGATE_TLS_KEY": str(self.key)}

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--tls-cert", str(self.certificate), "--tls-key", str(self.key))

    def replace_by(self, other: "Pair") -> None:
        """Put the files of `other` in place of these, each at once, as a renewal does."""
        other.certificate.replace(self.certificate)
        other.key.replace(self.key)


def make_pair(folder: Path, name: str = "server") -> Pair:
    """Make a certificate whose common name is `name`."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-keyout", str(pair.key), "-out", str(pair.certificate), "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"),
        ],
        check=True,
        capture_output=True,
    )
    return pair


def client_context(certificate: Path) -> ssl.SSLContext:
    """Return the TLS of a client that trusts `certificate`, for `websockets.sync`, which reads in a second thread.

    In TLS 1.3 a server sends session tickets after the handshake: reading them while another thread writes is what
    OpenSSL forbids, and Python before 3.13 does not guard. A handshake was seen to hang so.
    """
    context = ssl.create_default_context(cafile=str(certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
