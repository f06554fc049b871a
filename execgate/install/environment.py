"""The virtual environment of one version: from the locked wheels, each by its hash, and a copy of this clone.

Versions stand side by side: what runs keeps its files while the next one is made, and going back is a link.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from execgate import __version__

PACKAGES = ("execgate", "gateway", "publisher", "loadgen")
_OTHERS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements/runtime.lock")
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc")


class BuildError(Exception):
    """A command of the build failed; the text is what it said."""


def stamp(clone: Path) -> str:
    """Return the name of the environment that `clone` makes with this Python: a version, and a digest of all."""
    digest = hashlib.sha256(f"{sys.version} {sys.base_prefix}\n".encode())
    for path in _sources(clone):
        digest.update(f"{path.relative_to(clone)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{__version__}-{digest.hexdigest()[:10]}"


def build(clone: Path, target: Path, seen_as: str) -> None:
    """Make `target`, which is there whole or not at all.

    Args:
        clone: where the project's source is; nothing is written there.
        target: the environment's directory.
        seen_as: its path in the installed system, which is another one under `--root`.

    Raises:
        BuildError: a command failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        staging.chmod(0o755)
        source = staging / "source"
        for package in PACKAGES:
            shutil.copytree(clone / package, source / package, ignore=_SKIPPED)
        for name in _OTHERS:
            (source / name).parent.mkdir(exist_ok=True)
            shutil.copy(clone / name, source / name)
        made = staging / "venv"
        # -I: nothing from PYTHONPATH, which finds the clone, gets in.
        _call(sys.executable, "-I", "-m", "venv", str(made))
        pip = (str(made / "bin/python"), "-I", "-m", "pip", "--disable-pip-version-check", "install", "--no-input")
        lock = str(source / "requirements/runtime.lock")
        _call(*pip, "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", lock)
        _call(*pip, "--quiet", "--no-deps", "--no-build-isolation", str(source))
        command = made / "bin/execgate"
        command.write_text(launcher(seen_as))
        command.chmod(0o755)
        made.rename(target)
    finally:
        shutil.rmtree(staging)


def launcher(seen_as: str) -> str:
    """Return the text of `bin/execgate`: pip's own would name the directory that it was made in."""
    return (
        f"#!{seen_as}/bin/python -I\n"
        "import sys\n\nfrom execgate.cli import main\n\n"
        'if __name__ == "__main__":\n    sys.exit(main())\n'
    )


def _sources(clone: Path) -> Iterator[Path]:
    for name in _OTHERS:
        yield clone / name
    for package in PACKAGES:
        for folder, _, names in sorted(os.walk(clone / package)):
            if not folder.endswith("__pycache__"):
                yield from (
                    Path(folder, name) for name in sorted(names) if not name.endswith((".so", ".pyc", ".c"))
                )


def _call(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
