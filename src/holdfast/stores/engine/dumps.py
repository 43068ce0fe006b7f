"""An engine as a value, to be written down and made again. Handles of papers are numbers in it."""

from __future__ import annotations

import msgspec

from holdfast.delivery import Command, HolderInfo
from holdfast.machine import MachineDump, dumped, loaded
from holdfast.stores.engine.engine import Engine
from holdfast.stores.engine.filed import Record
from holdfast.stores.engine.place import Place
from holdfast.stores.engine.state import Holder
from holdfast.stores.engine.ticking import Kept, QueueSchedules


class PlaceDump(msgspec.Struct, frozen=True, array_like=True):
    """A queue."""

    queue: str
    machine: MachineDump
    records: dict[str, Record]


class HolderDump(msgspec.Struct, frozen=True, array_like=True):
    """A holder; ``expires`` and ``ended`` are ms of the engine's boot."""

    info: HolderInfo
    expires: int
    ended: int | None
    command: Command | None


class EngineDump(msgspec.Struct, frozen=True, array_like=True):
    """All of an engine."""

    boot: str
    floor: int
    tokens: dict[str, int]
    places: list[PlaceDump]
    schedules: dict[str, list[Kept]]
    holders: list[HolderDump]


def dump(engine: Engine) -> EngineDump:
    """Return the engine as a value, which shares much with it: encode it before the engine goes on."""
    return EngineDump(
        engine.boot,
        engine.floor,
        engine.tokens,
        [PlaceDump(queue, dumped(place.machine), place.records) for queue, place in engine.places.items()],
        {queue: list(schedules.kept.values()) for queue, schedules in engine.schedules.items()},
        [HolderDump(one.info, one.expires, one.ended, one.command) for one in engine.holders.values()],
    )


def load(engine: Engine, dump: EngineDump) -> None:
    """Let an engine go on as the one that was dumped would have."""
    engine.clear()
    engine.boot, engine.floor, engine.tokens = dump.boot, dump.floor, dump.tokens
    for place in dump.places:
        engine.places[place.queue] = Place(loaded(place.machine), engine.papers)
        engine.places[place.queue].records = place.records
    for queue, kept in dump.schedules.items():
        engine.schedules[queue] = QueueSchedules.of(kept)
    for one in dump.holders:
        holder = engine.holders[one.info.id] = Holder(one.info)
        holder.expires, holder.ended, holder.command = one.expires, one.ended, one.command
