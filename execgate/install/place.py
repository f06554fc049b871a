"""An installation's files: where things are under `--root`, what is there, and what was put there before."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from execgate.install.plan import Present, Wanted
from execgate.wire.errors import UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """Where to install.

    Attributes:
        root: the directory that is `/` of the installed system.
        prefix: where the programs go in it.
        dry_run: say it, don't do it.
    """

    root: Path
    prefix: str
    dry_run: bool

    def real(self, path: str) -> Path:
        """Return where `path` of the installed system is on this one."""
        return self.root / path.lstrip("/")

    @property
    def library(self) -> str:
        """Return where versions and the record are."""
        return f"{self.prefix}/lib/execgate"

    @property
    def is_running_system(self) -> bool:
        """Whether it is this machine's own root, and systemd runs it."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()


@dataclass(slots=True)
class Record:
    """What an installation wrote down: fingerprints of files, versions (oldest first), gateways."""

    files: dict[str, str]
    versions: list[str]
    gateways: int


def read_record(target: Target) -> Record:
    """Return what the last installation wrote down; an empty one if there was none.

    Raises:
        UsageError: the file is no record.
    """
    path = target.real(f"{target.library}/installed.json")
    try:
        found = json.loads(path.read_bytes())
        files_ = {str(name): str(fingerprint) for name, fingerprint in found["files"].items()}
        return Record(files_, [str(version) for version in found["versions"]], int(found["gateways"]))
    except FileNotFoundError:
        return Record({}, [], 1)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path}: not a record of an installation ({error!r}); "
            "move it away, and every file that is there counts as edited"
        ) from None


def write_record(target: Target, record: Record) -> None:
    """Write down what is installed now."""
    found = {"files": record.files, "versions": record.versions, "gateways": record.gateways}
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    write(target.real(f"{target.library}/installed.json"), Wanted(text.encode()))


def present(target: Target) -> Present:
    """Return a function that tells the fingerprint of what is at a path of `target`."""

    def look(path: str) -> str | None:
        real = target.real(path)
        if real.is_symlink():
            return f"link {real.readlink()}"
        return Wanted(real.read_bytes()).fingerprint if real.exists() else None

    return look


def write(path: Path, wanted: Wanted) -> None:
    """Have the whole of `wanted` at `path` at once: nobody ever sees half of it, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if wanted.is_link:
            beside.symlink_to(wanted.content.decode())
        else:
            beside.write_bytes(wanted.content)
            if path.is_file() and not path.is_symlink():
                beside.chmod(path.stat().st_mode & 0o7777)  # an operator's chmod is an edit of theirs too
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def remove_if_empty(folder: Path, suffix: str = "") -> None:
    """Remove a directory that is there, has nothing in it and a name that ends with `suffix`."""
    if folder.name.endswith(suffix) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
