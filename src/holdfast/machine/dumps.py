"""A machine as a value, to be written down and made again: what cannot be told from anything else that is in it."""

from __future__ import annotations

import heapq

import msgspec

from holdfast.config import QueueSettings
from holdfast.delivery import ENDED, WAITING, State
from holdfast.machine.heads import Sort, unpacked
from holdfast.machine.moves import Head
from holdfast.machine.orders import Line
from holdfast.machine.queue import Machine


class MachineDump(msgspec.Struct, frozen=True, array_like=True):
    """All of a machine. ``slots`` name heads by their ``seq``, those of ``removed`` jobs among them.

    ``forgotten`` are the id, token and end (ms) of jobs that are remembered only.
    """

    settings: QueueSettings
    paused: bool
    token: int
    floor: int
    heads: list[Head]
    rows: list[bytes]
    sorts: list[tuple[str, int, int, State]]
    removed: list[Head]
    slots: list[tuple[str, int]]
    left: list[tuple[int, int]]
    forgotten: list[tuple[str, int, int]]


def dumped(machine: Machine) -> MachineDump:
    """Return the machine as a value, which shares heads with it: encode it before the machine goes on."""
    heads, rows, sorts = machine.heads.apart()
    ends = {job_id: end for end, job_id in machine._forgotten_by_end}
    return MachineDump(
        machine.settings,
        machine.paused,
        machine.token,
        machine.floor,
        heads,
        rows,
        [(one.kind, one.priority, one.format, one.state) for one in sorts],
        [head for *_, head in sorted(machine._left_slots, key=_place)],
        sorted((key, head.seq) for key, head in machine._slots.items()),
        [(lasts, seq) for lasts, seq, _ in sorted(machine._left_slots, key=_place)],
        sorted((job_id, token, ends[job_id]) for job_id, token in machine._forgotten.items()),
    )


def _seq(head: Head) -> int:
    return head.seq


def _place(left: tuple[int, int, Head]) -> tuple[int, int]:
    return left[:2]


def loaded(dump: MachineDump) -> Machine:
    """Return a machine that goes on as the one that was dumped would have."""
    machine = Machine(dump.settings, dump.token)
    machine.paused, machine.floor = dump.paused, dump.floor
    sorts = [Sort(*sort) for sort in dump.sorts]
    machine.heads.number(sorts)
    packed = (unpacked(row, sorts) for row in dump.rows)
    for head in heapq.merge(dump.heads, packed, key=_seq):
        machine.heads[head.id] = head
        machine.counts[head.state] += 1
        _stand(machine, head)
    heads = {head.seq: head for head in (*dump.removed, *dump.heads)}
    machine._slots = {key: heads[seq] for key, seq in dump.slots}
    machine._left_slots = [(lasts, seq, heads[seq]) for lasts, seq in dump.left]
    machine._forgotten = {job_id: token for job_id, token, _ in dump.forgotten}
    machine._forgotten_by_end = [(end, job_id) for job_id, _, end in dump.forgotten]
    heapq.heapify(machine._forgotten_by_end)
    return machine


def _stand(machine: Machine, head: Head) -> None:
    """Put a head where its state says that it stands."""
    if head.state in ENDED:
        _end(machine, head)
        return
    _join(machine, head)
    if head.state is State.RUNNING:
        machine._leases.setdefault(head.holder or "", {})[head.id] = head
        if head.cancel is not None:
            machine._cancelling[head.id] = head
    elif head.state is State.SCHEDULED:
        machine._scheduled.push((head.due, head.seq), head)
    elif not head.held:
        machine.ready._stand(head)
    if head.state in WAITING:
        machine._expect_expiry(head)


def _end(machine: Machine, head: Head) -> None:
    ended = head.ended or 0
    if head.keep_until > ended:
        machine._kept.push((head.keep_until, head.seq), head)
    else:
        machine._ended[head.state].push((ended, head.seq), head)


def _join(machine: Machine, head: Head) -> None:
    """Let a job that is in the line of its key be there: one that waits for a retry is, one never leased is not."""
    if head.key is None or (head.state is State.SCHEDULED and head.started is None):
        return
    lines = machine.ready._lines
    line = lines.get(head.key)
    if line is None:
        line = lines[head.key] = Line(head)
    if head.held:
        machine.ready.held += 1
        line.waiting.push((head.joined, head.seq), head)
    else:
        line.front = head
