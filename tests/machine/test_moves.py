"""The table of legal moves: what it says, what its diagram shows, and that the machine keeps to it."""

import re
from pathlib import Path

import pytest

from holdfast.delivery import ENDED, State
from holdfast.machine import MOVES, REVIVABLE, Move
from holdfast.testing.conformance.judge import MachineJudge
from holdfast.testing.conformance.model import EXAMPLES, run_model
from tests.stores.memory_harness import MemoryHarness

DIAGRAM = Path(__file__).parents[2] / "docs" / "reference" / "states.md"
ARROW = re.compile(r"^ +(\S+) --> (\S+): (.+)$", re.MULTILINE)


def test_the_diagram_of_the_documentation_lists_exactly_the_moves():
    drawn = set()

    for source, target, verbs in ARROW.findall(DIAGRAM.read_text()):
        drawn |= {Move(verb, _state(source), _state(target)) for verb in verbs.split(", ")}

    assert drawn == MOVES


def _state(name):
    return None if name == "[*]" else State(name)


def test_only_an_ack_makes_a_job_done():
    assert {move for move in MOVES if move.target is State.DONE} == {Move("ack", State.RUNNING, State.DONE)}


def test_only_a_lease_makes_a_job_run():
    assert {move for move in MOVES if move.target is State.RUNNING} == {Move("lease", State.READY, State.RUNNING)}


def test_a_running_job_is_never_removed():
    assert not [move for move in MOVES if move.source is State.RUNNING and move.target is None]


def test_only_a_dead_letter_begins_ended():
    begun = {move for move in MOVES if move.source is None and move.verb != "send"}

    assert begun == {Move("put_dead", None, State.DEAD)}


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_job_is_revived_or_removed_and_nothing_else(state):
    verbs = {move.verb for move in MOVES if move.source is state}

    assert verbs == {"drop", "flush"} | ({"replay", "reload"} if state in REVIVABLE else set())


class WatchedJudge(MachineJudge):
    """Looks at the states before and after every command."""

    def __getattribute__(self, name):
        command = super().__getattribute__(name)
        if name not in {"send", "settle", "retire", "cancel", "revive", "put_dead", "flush", "tidy"}:
            return command

        def watched(*arguments):
            now = arguments[-1]
            self.machine.advance(now)
            before = self._states()
            answer = command(*arguments)
            _check(before, self._states())
            return answer

        return watched

    def lease(self, *arguments, now, **options):
        before = self._states()
        self.machine.advance(now)
        due = self._states()
        _check(before, due)
        granted = super().lease(*arguments, now=now, **options)
        _check(due, self._states())
        return granted

    def _states(self):
        return {head.id: head.state for head in self.machine.heads.values()}


def _check(before, after):
    legal = {(move.source, move.target) for move in MOVES}
    moved = {(before.get(job_id), after.get(job_id)) for job_id in before.keys() | after.keys()}
    assert {move for move in moved if move[0] is not move[1]} <= legal


@pytest.mark.timeout(400)  # when it fails, the shortest failing life of a queue is looked for
def test_every_change_the_machine_makes_is_a_move():
    with MemoryHarness() as harness:
        run_model(harness, harness.open(), WatchedJudge, examples=EXAMPLES // 5)
