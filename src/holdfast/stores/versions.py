"""The versions of groups' places: by them a commit is known that was made for another group of the same name."""

from __future__ import annotations

import secrets

_BITS = 20


def version_at(now: int) -> int:
    """Return a version for a place that is taken ``now`` (ms): above those that were given at earlier instants.

    A group may be forgotten and made again within one instant, and nothing of the old one is left to count on from:
    the lower bits are drawn, so that one in a million has the version of another of this very instant.
    """
    return now << _BITS | secrets.randbits(_BITS)
