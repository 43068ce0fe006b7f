"""A store that fails on demand, which also takes the commands itself: tests hold one object instead of two."""

from holdfast.testing import Faults


def Faulty(store):
    """Wrap ``store``; see :class:`~holdfast.testing.Faults` for what may be commanded."""
    faults = Faults()
    made = faults.wrap(store)
    for command in ("fail", "hold", "mend", "wait_for_calls", "calls"):
        setattr(made, command, getattr(faults, command))
    return made
