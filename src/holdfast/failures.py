"""An error as it is stored with the attempt that it ended: bounded, and in characters that every store can keep."""

from __future__ import annotations

from types import TracebackType

import msgspec

MAX_MESSAGE, MAX_TRACEBACK = 2_000, 16_000
"""Characters of an error that are stored with each failed attempt; of a longer traceback the middle goes."""


class ErrorInfo(msgspec.Struct, frozen=True, gc=False):
    """An error as stored with an attempt: its class, its text, and its traceback, trimmed."""

    type: str
    message: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ErrorInfo:
        """Return ``error`` as it is stored: bounded, its traceback from the first line on that is not Holdfast's.

        Never raises, whatever the error's own methods do.
        """
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return cls(clean(name), clean(error)[:MAX_MESSAGE], clean(_trace(error)))


def clean(text: object) -> str:
    """Return ``text`` as every store can keep it: no NUL, and nothing that UTF-8 does not know. Never raises."""
    try:
        return str(text).replace("\0", "?").encode("utf-8", "replace").decode()
    except Exception as failure:
        return f"<its text cannot be had: {type(failure).__name__}>"


def frames_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of ``error`` from the first frame on that is not Holdfast's; all of it if each is."""
    frames = error.__traceback__
    while frames is not None and str(frames.tb_frame.f_globals.get("__name__")).startswith("holdfast."):
        frames = frames.tb_next
    return frames or error.__traceback__


def _trace(error: BaseException) -> str:
    import traceback  # costs start-up time, and is needed only when something fails

    try:
        text = "".join(traceback.format_exception(type(error), error, frames_of(error)))
    except Exception:
        return ""
    if len(text) <= MAX_TRACEBACK:
        return text
    head, tail = MAX_TRACEBACK // 4, MAX_TRACEBACK // 4 * 3
    return f"{text[:head]}\n… {len(text) - head - tail} characters left out …\n{text[-tail:]}"
