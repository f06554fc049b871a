"""`execgate keygen DIR NAME`: makes a pair of CURVE keys, for a publisher, a gateway or a producer.

`execgate.cli` calls `main`; `docs/security.md` says which file goes where.
"""

from collections.abc import Sequence
from pathlib import Path

from execgate.service import curve
from execgate.service.exits import EXIT_OK
from execgate.wire.errors import UsageError

_USAGE = """\
usage: execgate keygen DIR NAME

Make a pair of CURVE keys: DIR/NAME.key, the secret one, which stays where it is used, and DIR/NAME.pub, which the
other side is given. A directory that is not there is made; a file that is there stays, and is an error.

examples:
  execgate keygen /etc/execgate/keys publisher
  execgate keygen . gateway-1"""


def main(arguments: Sequence[str]) -> int:
    """Write the keys and say where they are; return the exit status.

    Raises:
        UsageError: the arguments are not a directory and a name, or the files can't be written.
    """
    if any(word in ("-h", "--help") for word in arguments):
        print(_USAGE)
        return EXIT_OK
    if len(arguments) != 2:
        raise UsageError(f"{len(arguments)} arguments: expected DIR NAME. See 'execgate keygen --help'.")
    secret_path, public_path = curve.generate(Path(arguments[0]), arguments[1])
    print(f"secret={secret_path} public={public_path}")
    return EXIT_OK
