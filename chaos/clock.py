"""A wall clock that is set while processes run, as an administrator or a time server gone wrong would.

Whoever is started with `environment` sees it (`clock_shim.c`); its monotonic clock goes on as ever. `run` steps
the daemons' clock; the integration tests do, too.
"""

import struct
import subprocess
from pathlib import Path

_SHIM = Path(__file__).with_name("clock_shim.c")
_STEP = struct.Struct("=qQ")


class Clock:
    """One wall clock, right at first.

    Args:
        folder: for the compiled shim and the file by which it is told.
        moves_all: move the monotonic clocks too, which no machine does: the control.

    Attributes:
        environment: for the processes that are to have this clock.

    Raises:
        OSError, subprocess.CalledProcessError: there is no compiler here, or it can't.
    """

    def __init__(self, folder: Path, *, moves_all: bool = False) -> None:
        shim, self._file = folder / "clock_shim.so", folder / "clock"
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(shim), str(_SHIM), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        self._file.write_bytes(_STEP.pack(0, 0))
        self.environment = {"LD_PRELOAD": str(shim), "CLOCK_STEP_FILE": str(self._file)}
        if moves_all:
            self.environment["CLOCK_STEP_ALL"] = "1"

    @property
    def asked(self) -> int:
        """How often a process has asked for the time while it was wrong."""
        return int(_STEP.unpack(self._file.read_bytes())[1])

    def step(self, seconds: float) -> None:
        """Have the clock be wrong by so much; 0 puts it right."""
        with self._file.open("r+b") as file:
            file.write(_STEP.pack(round(seconds * 1e9), 0)[:8])
