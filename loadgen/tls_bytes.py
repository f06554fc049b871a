"""TLS over bytes that somebody else reads and writes: so the read of a TLS socket has its kernel's stamp, too.

Called by `raw_client.py`. The work is OpenSSL's, by Python's `ssl`.
"""

import ssl

_CHUNK_BYTES = 64 * 1024


class TlsBytes:
    """The client's end of one TLS connection.

    Args:
        context: what it may agree to.
        name: that the server's certificate has to be for.

    Attributes:
        is_open: whether the handshake is done, so that `encrypt` may be called.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "is_open")

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.is_open = False
        self._shake_hands()

    def take_unsent(self) -> bytes:
        """Return what has to be written to the socket, for the handshake's sake or an alert's."""
        return self._outgoing.read()

    def encrypt(self, payload: bytes) -> bytes:
        """Return the bytes to write for `payload`."""
        self._tls.write(payload)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Return what bytes that were read from the socket come to; look at `take_unsent` and `is_open` then.

        Raises:
            ssl.SSLError: it is no TLS, or a certificate that nobody vouches for.
        """
        self._incoming.write(data)
        if not self.is_open and not self._shake_hands():
            return b""
        plain = b""
        try:
            while chunk := self._tls.read(_CHUNK_BYTES):
                plain = plain + chunk if plain else chunk
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass  # a part of a record, or the peer's last word: TCP's end follows
        return plain

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_open = True
        return True
