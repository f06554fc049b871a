"""CURVE: keys in files, and sockets that let in only peers whose public key is in a directory.

A key is one line of Z85 (40 characters, https://rfc.zeromq.org/spec/32) in a text file, below lines that begin
with `# `. `NAME.key` is a secret and readable by its owner alone, or a credential of systemd's; `NAME.pub` is the
public half; `execgate keygen` writes both. A secret never stands in a log, an error or a `repr`. Who may come in:
`execgate.service.zap`.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from execgate.wire.errors import UsageError

SECRET_SUFFIX = ".key"
PUBLIC_SUFFIX = ".pub"
MAX_FILE_BYTES = 4096
MAX_KEYS = 1_000
"""In one directory."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A peer's own keys, in Z85."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCurve:
    """What a peer that connects takes: its own keys, and the public key of whom it connects to."""

    own: KeyPair
    server: bytes

    def secure(self, zmq_socket: "zmq.Socket[bytes]") -> None:
        """Have a socket speak CURVE; before it connects."""
        zmq_socket.setsockopt(zmq.CURVE_SERVERKEY, self.server)
        zmq_socket.setsockopt(zmq.CURVE_PUBLICKEY, self.own.public)
        zmq_socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret)


@dataclass(frozen=True, slots=True)
class ServerCurve:
    """What a peer that binds takes: its own keys."""

    own: KeyPair

    def secure(self, zmq_socket: "zmq.Socket[bytes]", domain: str) -> None:
        """Have a socket speak CURVE, with those that `domain` lets in; before it binds.

        Without somebody at work who answers for `domain` nobody gets in.
        """
        zmq_socket.setsockopt(zmq.CURVE_SERVER, 1)
        zmq_socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret)
        zmq_socket.setsockopt_string(zmq.ZAP_DOMAIN, domain)
        zmq_socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # else, without a handler, everybody would


def generate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key pair and write `NAME.key` and `NAME.pub`, which must not exist; return their paths.

    Raises:
        UsageError: a name that is none, a file that exists or can't be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r}: expected 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        )
    public, secret = zmq.curve_keypair()
    secret_path, public_path = folder / (name + SECRET_SUFFIX), folder / (name + PUBLIC_SUFFIX)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (public_path, secret_path):
            if path.exists():
                raise UsageError(f"{path}: exists already; remove it or choose another name")
        _write(secret_path, 0o600, f"execgate: secret CURVE key of {name}; nobody else may read it", secret)
        _write(public_path, 0o644, f"execgate: public CURVE key of {name}; give it to the other side", public)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    return secret_path, public_path


def load_secret(flag: str, path: str) -> KeyPair:
    """Read a secret key; the public one follows from it.

    Raises:
        UsageError: the file can't be read, others may read or write it, or it is no key.
    """
    text = _read(flag, path, is_secret=True)
    key = _key(flag, path, text)
    return KeyPair(zmq.curve_public(key), key)


def load_public(flag: str, path: str) -> bytes:
    """Read a public key.

    Raises:
        UsageError: the file can't be read or is no key.
    """
    if path.endswith(SECRET_SUFFIX):
        raise UsageError(f"{flag} {path}: is a secret key, expected a public one ({PUBLIC_SUFFIX})")
    return _key(flag, path, _read(flag, path, is_secret=False))


def load_directory(flag: str, path: str) -> dict[bytes, str]:
    """Read all public keys of a directory, `*.pub`; return key -> name.

    Raises:
        UsageError: the directory or one of its keys can't be read, or there are too many.
    """
    try:
        names = sorted(found.name for found in Path(path).iterdir() if found.name.endswith(PUBLIC_SUFFIX))
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}, expected a directory with public keys") from None
    if len(names) > MAX_KEYS:
        raise UsageError(f"{flag} {path}: {len(names)} keys, expected at most {MAX_KEYS}")
    return {load_public(flag, str(Path(path) / name)): name.removesuffix(PUBLIC_SUFFIX) for name in names}


def client_curve(key: str | None, server: str | None) -> ClientCurve | None:
    """Read what `--curve-key` and `--curve-server` name; None where they are not given.

    Raises:
        UsageError: a file can't be used.
    """
    if key is None or server is None:
        return None
    return ClientCurve(load_secret("--curve-key", key), load_public("--curve-server", server))


def _write(path: Path, mode: int, comment: str, key: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"# {comment}\n".encode() + key + b"\n")


def _read(flag: str, path: str, *, is_secret: bool) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{flag} {path}: is no file, expected one with a CURVE key")
            if is_secret and found.st_mode & (_OTHERS if not _is_credential(path) else _OTHERS & ~stat.S_IRGRP):
                raise UsageError(
                    f"{flag} {path}: mode {stat.S_IMODE(found.st_mode):04o}, others may reach it; expected 0600 "
                    "(chmod 600, and a new key if somebody may have read it)"
                )
            return file.read(MAX_FILE_BYTES + 1).decode("ascii", "replace")
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {path}: {getattr(error, 'strerror', None) or error}") from None


def _is_credential(path: str) -> bool:
    """Whether systemd put it there for this service alone (LoadCredential=).

    It belongs to root, and our user may read it by an access control list, whose mask stands in the group's bits.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and os.path.realpath(path).startswith(f"{os.path.realpath(folder)}/")


def _key(flag: str, path: str, text: str) -> bytes:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("# ") and line != "#"]
    if len(lines) != 1 or not _Z85.fullmatch(lines[0]):
        raise UsageError(f"{flag} {path}: expected one line with a CURVE key of 40 characters (execgate keygen)")
    return lines[0].encode()
