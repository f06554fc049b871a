"""`python -m execgate` is the `execgate` command."""

import sys

from execgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
