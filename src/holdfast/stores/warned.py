"""Warnings of what a store cannot see to itself: they name the caller's line, not one of Holdfast's."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parents[1]) + "/"
_BETWEEN = frozenset({"asyncio", "click", "concurrent", "contextlib", "threading"})
"""Packages through whose code Holdfast calls itself, and starts its threads."""


def warn(text: str) -> None:
    """Warn once a line of the caller's; in a thread of Holdfast's own, of nobody's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_between(frame):
        frame = frame.f_back
    if frame is None:
        warnings.warn_explicit(text, RuntimeWarning, "holdfast", 0, "holdfast")
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    name = frame.f_globals.get("__name__", "")
    warnings.warn_explicit(text, RuntimeWarning, frame.f_code.co_filename, frame.f_lineno, name, registry)


def _is_between(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return frame.f_code.co_filename.startswith(_PACKAGE) or package in _BETWEEN
