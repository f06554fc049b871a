"""The certificate's files: what can't be used is named, with what was expected; a change is read in time."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from execgate.wire.errors import UsageError
from gateway.certificate import Certificate, load_context
from tests.certificates import Pair, make_pair

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates")

A_CERTIFICATE = "expected a file with a PEM certificate, then those of its issuers"
A_KEY = "expected a file with a PEM private key without a passphrase"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files good and bad."""
    folder = tmp_path_factory.mktemp("files")
    pair = make_pair(folder)
    make_pair(folder, "other")
    (folder / "text").write_text("nonsense\n")
    (folder / "bytes").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    (folder / "cut").write_text(pair.certificate.read_text()[:300] + "\n-----END CERTIFICATE-----\n")
    _openssl("genpkey", "-algorithm", "RSA", "-out", folder / "rsa")
    _openssl("ec", "-in", pair.key, "-aes256", "-passout", "pass:secret", "-out", folder / "encrypted")
    return folder


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("none", "server.key", f"--tls-cert {{}}/none: No such file or directory; {A_CERTIFICATE}"),
        (".", "server.key", f"--tls-cert {{}}/.: Is a directory; {A_CERTIFICATE}"),
        *((name, "server.key", f"--tls-cert {{}}/{name}: {A_CERTIFICATE}") for name in ("text", "bytes", "empty")),
        ("cut", "server.key", f"--tls-cert {{}}/cut: {A_CERTIFICATE}"),
        ("server.key", "server.key", f"--tls-cert {{}}/server.key: {A_CERTIFICATE}"),
        ("server.crt", "none", f"--tls-key {{}}/none: No such file or directory; {A_KEY}"),
        *(("server.crt", name, f"--tls-key {{}}/{name}: {A_KEY}") for name in ("text", "bytes", "server.crt")),
        ("server.crt", "encrypted", f"--tls-key {{}}/encrypted: {A_KEY}"),
        ("server.crt", "other.key", "--tls-key {}/other.key: expected the private key of {}/server.crt"),
        ("server.crt", "rsa", "--tls-key {}/rsa: expected the private key of {}/server.crt"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(folder: Path, certificate: str, key: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_context(f"{folder}/{certificate}", f"{folder}/{key}")
    assert str(refused.value).startswith(reason.replace("{}", str(folder)))
    assert "\n" not in str(refused.value)


def test_a_name_that_no_file_can_have_is_refused_too() -> None:
    with pytest.raises(UsageError, match="--tls-cert"):
        load_context("a\0b", "c")


def test_the_context_is_what_the_documentation_says(folder: Path) -> None:
    context = load_context(f"{folder}/server.crt", f"{folder}/server.key")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.num_tickets == 0


def test_files_are_read_again_once_they_have_stayed_the_same_for_a_look(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "first")
    watched = Certificate(str(pair.certificate), str(pair.key))
    first = watched._context
    watched.look()
    assert watched._context is first  # nothing has changed

    _replace_half(pair, make_pair(tmp_path, "second"))
    watched.look()
    assert watched._context is first  # the key may be on its way
    pair.key.write_bytes((tmp_path / "second.key").read_bytes())
    watched.look()
    assert watched._context is first  # it has come
    watched.look()
    assert watched._context is not first


def _replace_half(pair: Pair, other: Pair) -> None:
    pair.certificate.write_bytes(other.certificate.read_bytes())
