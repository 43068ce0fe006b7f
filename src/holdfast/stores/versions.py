"""The versions of groups' places: by them a commit is known that was made for another group of the same name."""

from __future__ import annotations

import secrets

_BITS = 15
_EPOCH = 1_577_836_800_000
"""ms (UTC) at which 2020 began: until 2037 versions fit into 54 bits, for which the tokens of consumers have room."""


def version_at(now: int) -> int:
    """Return a version for a place that is taken ``now`` (ms): above those that were given at earlier instants.

    A group may be forgotten and made again within one instant, and nothing of the old one is left to count on from:
    the lower bits are drawn, so that one in thirty thousand has the version of another of this very instant.
    """
    return max(0, now - _EPOCH) << _BITS | secrets.randbits(_BITS)
