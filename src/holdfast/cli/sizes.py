"""Sizes of memory as people write and read them."""

from __future__ import annotations

import re

import click

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def read_size(ctx: click.Context, param: click.Parameter, value: str | int | None) -> int | None:
    """Read a number of bytes: ``500M``, ``2G``, ``1.5GiB``, ``4096``; units are powers of 1024."""
    if value is None:
        return None
    written = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    found = round(float(written[1]) * UNITS[written[2].upper()]) if written else 0
    if found < 1:
        raise click.BadParameter(f"{value!r} is no size: write for example 500M or 2G")
    return found


def size(number: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    unit, factor = next((unit, factor) for unit, factor in reversed(UNITS.items()) if number >= factor or factor == 1)
    return f"{number / factor:.4g} {unit}iB" if unit else f"{number} bytes"
