"""CURVE keys of a publisher, a gateway, a producer and a stranger, as an administrator makes them.

Off one machine the feed needs them. `run` and the integration tests use the same.
"""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from execgate import cli
from execgate.service.curve import ClientCurve, load_public, load_secret


class Keys:
    """Keys of everybody, and the publisher's two directories.

    Args:
        folder: exists; gets them all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("publisher", "gateway", "producer", "stranger"):
            with redirect_stdout(io.StringIO()):
                cli.main(["keygen", str(folder), name])
        for directory, name in (("gateways", "gateway"), ("producers", "producer")):
            (folder / directory).mkdir()
            self.allow(directory, name)

    def allow(self, directory: str, name: str) -> None:
        """Let `name` in as one of `directory`."""
        (self.folder / directory / f"{name}.pub").write_text((self.folder / f"{name}.pub").read_text())

    def of_publisher(self) -> tuple[str, ...]:
        """Return the publisher's flags."""
        return (
            *("--curve-key", f"{self.folder}/publisher.key", "--curve-clients", f"{self.folder}/gateways"),
            *("--curve-producers", f"{self.folder}/producers"),
        )

    def of_gateway(self, name: str) -> tuple[str, ...]:
        """Return the flags of a gateway that has the key of `name`."""
        return ("--curve-key", f"{self.folder}/{name}.key", "--curve-server", f"{self.folder}/publisher.pub")

    def client(self, name: str) -> ClientCurve:
        """Return what a program of ours connects with."""
        own = load_secret("", f"{self.folder}/{name}.key")
        return ClientCurve(own, load_public("", f"{self.folder}/publisher.pub"))

    def secrets(self) -> Iterator[str]:
        """Yield what must never be seen."""
        for path in self.folder.glob("*.key"):
            yield path.read_text().splitlines()[-1]
