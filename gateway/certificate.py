"""The certificate of the gateway's port: read at the start, read again when its files change.

A replacement that can't be used leaves the old one at work, and its reason in the log, once. Connections keep the
context that they began with, so that a new certificate concerns new connections only.
"""

import asyncio
import logging
import socket
import ssl
from pathlib import Path

from execgate.wire.errors import UsageError

log = logging.getLogger("gateway.certificate")

LOOK_S = 2.0
"""Between two looks at the files."""

# What OpenSSL says of a good key that is another certificate's: of the same kind, of another kind.
_NO_PAIR = frozenset({"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
_Signature = tuple[tuple[int, int, int], ...]
_CERTIFICATE = "a file with a PEM certificate, then those of its issuers"
_KEY = "a file with a PEM private key without a passphrase"


class Certificate:
    """What new connections are wrapped with.

    Args:
        certificate_file: PEM, the server's own certificate first.
        key_file: PEM, not encrypted.

    Raises:
        UsageError: a file can't be used; it names the flag, the file and what was expected.
    """

    def __init__(self, certificate_file: str, key_file: str) -> None:
        self._files = certificate_file, key_file
        self._seen = _signature(self._files)
        self._loaded = self._seen
        self._context = load_context(*self._files)
        self._timer: asyncio.TimerHandle | None = None

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """Return `sock`, which is accepted and non-blocking, as a TLS socket whose handshake is still to be done.

        Raises:
            OSError: the peer has gone.
        """
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def watch(self) -> None:
        """Begin to look at the files on the running loop."""
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def replace(self, certificate_file: str, key_file: str) -> None:
        """Read these files now, and look at them from now on.

        Raises:
            UsageError: one can't be used; what was at work stays.
        """
        files = certificate_file, key_file
        signature = _signature(files)
        self._context = load_context(*files)
        self._files, self._seen, self._loaded = files, signature, signature

    def look(self) -> None:
        """Read the files if they have changed since they were read, and not since the last look."""
        signature = _signature(self._files)
        if signature not in (self._loaded, self._seen):
            self._seen = signature  # one of the two may still be on its way
        elif signature != self._loaded:
            self._reload(signature)

    def _look_again(self) -> None:
        self.watch()
        self.look()

    def _reload(self, signature: _Signature) -> None:
        self._loaded = signature  # tried, at least: a broken file is not tried again until it changes
        try:
            self._context = load_context(*self._files)
        except UsageError as error:
            log.error("certificate not replaced, the old one stays reason=%r", str(error))
            return
        log.info("certificate replaced file=%s", self._files[0])


def load_context(certificate_file: str, key_file: str) -> ssl.SSLContext:
    """Return a server's TLS context: TLS 1.2 or later, HTTP/1.1 by ALPN, Python's default ciphers.

    Raises:
        UsageError: a file can't be used; it names the flag, the file and what was expected.
    """
    _check("--tls-cert", certificate_file, _CERTIFICATE)
    _check("--tls-key", key_file, _KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make us sign as often as it likes
    # No tickets: workers could not resume each other's sessions, and a client that reads and writes in two threads
    # may lose what it writes while it reads one (docs/adr/0010-tls.md).
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An empty passphrase, else OpenSSL asks for one on the terminal.
        context.load_cert_chain(certificate_file, key_file, lambda: "")
    except ssl.SSLError as error:
        raise _explain(error, certificate_file, key_file) from None
    return context


def _check(flag: str, name: str, expected: str) -> None:
    try:
        Path(name).open("rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{flag} {name}: {reason}; expected {expected}") from None


def _explain(error: ssl.SSLError, certificate_file: str, key_file: str) -> UsageError:
    """Say which of the two files it is: OpenSSL does not."""
    if error.reason in _NO_PAIR:
        return UsageError(f"--tls-key {key_file}: expected the private key of {certificate_file}, not another's")
    try:
        text = Path(certificate_file).read_text("ascii", errors="ignore")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return UsageError(f"--tls-cert {certificate_file}: expected {_CERTIFICATE}")
    return UsageError(f"--tls-key {key_file}: expected {_KEY}")


def _signature(files: tuple[str, ...]) -> _Signature:
    """What changes when a file does: when it was written, which it is, its size; zeros where there is none."""
    return tuple(_signature_of(name) for name in files)


def _signature_of(name: str) -> tuple[int, int, int]:
    try:
        found = Path(name).stat()
    except (OSError, ValueError):
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
