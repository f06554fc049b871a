"""PURE: what `--local publisher+N` says. Called by the settings; `local.py` starts the servers."""

from loadgen.core.target import Target

HOST = "127.0.0.1"
MAX_GATEWAYS = 64
_SPEC = "publisher+"


def parse_local(text: str) -> int:
    """Return how many gateways `publisher+N` asks for.

    Raises:
        ValueError: it is something else.
    """
    number = text.removeprefix(_SPEC)
    if number == text or not (number.isascii() and number.isdigit()) or not 1 <= int(number) <= MAX_GATEWAYS:
        raise ValueError(f"expected publisher+N, with 1 to {MAX_GATEWAYS} gateways, such as publisher+2")
    return int(number)


def show_local(gateways: int) -> str:
    """Return what `parse_local` reads."""
    return f"{_SPEC}{gateways}"


def targets_of(gateways: int) -> list[Target]:
    """Return what stands for the gateways before they are there: what does not fit is refused first."""
    return [Target(HOST, number + 1, "/ws") for number in range(gateways)]
