"""What scripts answered, several at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.errors import HoldfastError


def checked(replies: Iterable[Any]) -> list[Any]:
    """Return replies of which none is an error; raise the first that is."""
    found = list(replies)
    for reply in found:
        if isinstance(reply, HoldfastError):
            raise reply
    return found
