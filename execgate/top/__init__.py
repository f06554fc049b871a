"""`execgate top`: what gateways and publishers do right now, from their metrics."""

from execgate.top.app import main

__all__ = ["main"]
