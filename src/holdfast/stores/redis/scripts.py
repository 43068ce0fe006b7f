"""The Lua of the store, by name: each file of ``lua/``, with the files that its ``-- uses:`` lines name before it."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Self

import msgspec

_USES = "-- uses:"


class Script(msgspec.Struct, frozen=True):
    """A script as servers know it."""

    name: str
    text: str
    sha: str

    @classmethod
    def load(cls, name: str) -> Self:
        """Return the script of a file, such as ``send`` or ``logs/append``."""
        text = "\n".join(_parts(name))
        return cls(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _parts(name: str) -> list[str]:
    """Return the texts that make a script, each once, what is used before what uses it."""
    return list(_collected(name, {}).values())


def _collected(name: str, found: dict[str, str]) -> dict[str, str]:
    if name not in found:
        for used in _used(_read(name)):
            _collected(used, found)
        found[name] = _read(name)
    return found


def _used(text: str) -> list[str]:
    lines = [line.removeprefix(_USES) for line in text.splitlines() if line.startswith(_USES)]
    return " ".join(lines).replace(",", " ").split()


@cache
def _read(name: str) -> str:
    return files("holdfast.stores.redis").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
