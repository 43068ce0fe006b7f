"""For tests of what is built with Holdfast: a kit that runs an App, a clock that can be moved, a store that fails on
command, and the conformance suite for stores.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.testing.clock import MovableClock, SharedClock
    from holdfast.testing.enqueued import Enqueued
    from holdfast.testing.faults import Faults
    from holdfast.testing.kit import Kit, harness
    from holdfast.testing.shift import Drained

__all__ = ["Drained", "Enqueued", "Faults", "Kit", "MovableClock", "SharedClock", "harness"]

_LATE = {
    "Drained": "shift",
    "Enqueued": "enqueued",
    "Faults": "faults",
    "Kit": "kit",
    "MovableClock": "clock",
    "SharedClock": "clock",
    "harness": "kit",
}


def __getattr__(name: str) -> Any:
    # The pytest plugin lives here too, and every run of pytest pays for what is imported with it.
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
