"""How many bytes, in words for people."""

from __future__ import annotations


def size(amount: int) -> str:
    """Return an amount of bytes with three digits and its unit."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if amount >= unit:
            return f"{amount / unit:.4g} {name}" if amount >= 1000 * unit else f"{amount / unit:.3g} {name}"
    return f"{amount} bytes"
