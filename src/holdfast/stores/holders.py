"""What stores have in common about holders."""

from __future__ import annotations

import msgspec

from holdfast.delivery import HolderInfo


def seen(holder: HolderInfo, expires: int | None, boot: int) -> HolderInfo:
    """Return the holder with how long ago it last beat.

    ``expires`` is when its ttl is over and ``boot`` is now, both in ms of this boot; None when it beat in another.
    """
    ago = None if expires is None else max(0.0, (boot - expires) / 1000 + holder.ttl)
    return msgspec.structs.replace(holder, beaten=ago)
