"""What the execgate programs share: the wire, the services of a daemon, the measures.

`execgate.wire` and `execgate.measure` are pure (no I/O, no clock). `execgate.service` is what a daemon needs
of the operating system. `execgate.cli` sits on top and imports the program it was asked for. Nothing below
the command line imports `gateway`, `publisher` or `loadgen`.
"""

__version__ = "0.1.0"
