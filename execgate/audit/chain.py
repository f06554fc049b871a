"""PURE: a hash over payloads in their order, of which any stretch can be had from two prefixes.

A client chains what it receives, piece by piece. The audit chains a whole journal once, and compares each piece
with the same stretch in one step, however many clients there are.
"""

from collections.abc import Iterable
from hashlib import blake2b

_MODULUS = (1 << 61) - 1
_BASE = 0x1B873593CC9E2D51 % _MODULUS
"""Any number that is no small one: the digests under it are already well mixed."""


def digest(payload: bytes) -> int:
    """Return what stands for one payload in a chain."""
    return int.from_bytes(blake2b(payload, digest_size=8).digest()) % _MODULUS


def extend(chain: int, payload_digest: int) -> int:
    """Return `chain` with one more payload at its end; an empty chain is 0."""
    return (chain * _BASE + payload_digest) % _MODULUS


def prefixes(digests: Iterable[int]) -> list[int]:
    """Return the chains of the first 0, 1, 2, ... of `digests`."""
    chains = [0]
    for each in digests:
        chains.append(extend(chains[-1], each))
    return chains


def stretch(chains: list[int], start: int, end: int) -> int:
    """Return the chain of items `start` to `end`, exclusive, of what `prefixes` was made from."""
    return (chains[end] - chains[start] * pow(_BASE, end - start, _MODULUS)) % _MODULUS
