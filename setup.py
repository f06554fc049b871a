"""The metadata is in pyproject.toml; here is what that can't say: the modules that are compiled where they can be.

Each is plain Python that runs as it stands. Without a C compiler, Python's headers or Cython, or with
EXECGATE_COMPILE=0, that is what is installed, and everything works a little slower (docs/adr/0006).
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

COMPILED = (
    "gateway.delivery",
    "gateway.core.messages",
    "gateway.core.orders",
    "execgate.wire.frame_parser",
)


def extensions() -> list[Extension]:
    """Return what is to be built; what an earlier build left in a source tree goes, it may be out of date."""
    for module in COMPILED:
        folder, _, name = module.rpartition(".")
        for old in Path(folder.replace(".", "/")).glob(f"{name}.cpython-*{tag()}*.so"):
            old.unlink()
    if os.environ.get("EXECGATE_COMPILE") == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = [
        Extension(name, [f"{name.replace('.', '/')}.py"], optional=True, extra_compile_args=["-O2", "-g0"])
        for name in COMPILED
    ]
    # Annotations are for mypy: compiled or not, a subclass of str is a str.
    directives = {"language_level": "3", "annotation_typing": False}
    return cythonize(modules, build_dir="build/cython", compiler_directives=directives, quiet=True)


def tag() -> str:
    """Return what names this Python in an extension's file name."""
    return f"{sys.version_info.major}{sys.version_info.minor}"


setup(ext_modules=extensions())
