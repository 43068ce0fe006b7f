"""Queues as machines behind one lock, for stores that one process has to itself.

What changes the queues is a command (:mod:`~holdfast.stores.engine.commands`), and :class:`Engine` carries it out. The
engine is deterministic: the same commands at the same instants lead to the same state, so a journal of commands
rebuilds it. What the machine does not look at, bodies above all, is kept by the store's :class:`Papers`.
"""

from holdfast.stores.engine.backend import EngineBackend
from holdfast.stores.engine.engine import Engine
from holdfast.stores.engine.papers import Papers

__all__ = ["Engine", "EngineBackend", "Papers"]
