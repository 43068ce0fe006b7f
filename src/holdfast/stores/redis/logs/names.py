"""The names of logs, in the slot of the whole store, and the birth of what the servers hold."""

from __future__ import annotations

from typing import Any

from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.scripts import Script

_NAMES = Script.load("logs/names")


class LogNames:
    """Each name has a number, another one whenever it is noted: who forgets it, forgets what he knew of."""

    def __init__(self, link: Link, keys: Keys, times: Times) -> None:
        self._link, self._keys, self._times = link, keys, times

    def _run(self, verb: str, name: str, *args: Arg, durable: bool = False) -> Any:
        return self._link.run(_NAMES, self._keys.store, self._times(), verb, name, *args, durable=durable)

    def all(self) -> list[str]:
        """Return the names; there may be no log behind one."""
        (names,) = self._link.call(self._keys.store, ("HKEYS", f"{self._keys.store}:logs"))
        return sorted(name.decode() for name in names)

    def note(self, name: str) -> tuple[int, bytes]:
        """Note a name; return its new number, which may be the life of a new log, and the birth."""
        number, birth = self._run("note", name, durable=True)
        return number, birth

    def number(self, name: str) -> bytes | None:
        """Return the number of a name, None when it is not noted."""
        number: bytes | None = self._run("number", name)[0]
        return number

    def forget(self, name: str, number: bytes) -> None:
        """Forget a name that still has this number."""
        self._run("forget", name, number)

    def birth(self) -> bytes | None:
        """Return what tells this life of the servers' data from others; None when no log was ever declared."""
        birth: bytes | None = self._run("number", "")[1]
        return birth
