"""For tests of what is built with Holdfast: a clock that can be moved, and the conformance suite for stores."""

from __future__ import annotations

from holdfast.testing.clock import MovableClock, SharedClock

__all__ = ["MovableClock", "SharedClock"]
