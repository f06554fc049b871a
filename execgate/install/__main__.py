"""`python -m execgate.install`, which `./run install` and `./run uninstall` call."""

import sys

from execgate.install.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
