"""The suite of logs itself: what a store does wrong, it sees."""

import pytest

from holdfast.capabilities import Logs
from holdfast.stores.memory import MemoryBackend
from holdfast.stores.memory.logs import MemoryLogs
from holdfast.stores.memory.logs.group import MemoryGroup, Place
from holdfast.stores.memory.logs.member import MemoryMember
from holdfast.stores.memory.logs.partition import MemoryPartition
from holdfast.testing import conformance
from holdfast.testing.conformance.inheritance import log_cases, queue_cases
from holdfast.testing.conformance.logs.model import run_log_model
from tests.stores.memory_harness import MemoryLogHarness


def seek_without_a_version(self, next_):
    self.next, self.finished, self.crashes = next_, (), {}


def seek_keeps_what_is_finished(self, next_):
    self.next, self.version = next_, self.version + 1


def commit_goes_back(self, offset):
    self._group.places[offset.partition].move(offset.next, offset.finished)
    return offset.next


def commit_by_anybody(self, offset):
    return self._group.places[offset.partition].version == offset.version


def take_without_a_version(self, member, partition):
    self._free.discard(partition)
    self._members[member].add(partition)
    self.places[partition].owner = member


def free_what_others_hold(self, member):
    mine = self._members.pop(member, set())
    self._free.update(range(len(self.places)))
    return len(mine)


def find_nothing_behind_a_cut(self, offset, limit, max_bytes):
    chunks = read(self, offset, limit, max_bytes)
    return [chunk.between(chunk.base, chunk.base + 3) for chunk in chunks]


read = MemoryPartition.read


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (Place, "seek", seek_without_a_version),
        (Place, "seek", seek_keeps_what_is_finished),
        (MemoryMember, "_commit", commit_goes_back),
        (MemoryMember, "_holds", commit_by_anybody),
        (MemoryGroup, "_take", take_without_a_version),
        (MemoryGroup, "dismiss", free_what_others_hold),
        (MemoryPartition, "read", find_nothing_behind_a_cut),
    ],
    ids=lambda value: value.__name__ if callable(value) and not isinstance(value, type) else "",
)
def test_the_model_sees_a_group_that_goes_wrong(monkeypatch, owner, name, fault):
    monkeypatch.setattr(owner, name, fault)

    with MemoryLogHarness() as harness, pytest.raises((AssertionError, pytest.fail.Exception)):
        run_log_model(harness, harness.open_logs(), examples=1000, shrink=False)


def test_a_store_with_logs_must_pass_their_cases_too():
    queues_only = [cases for cases in queue_cases() if cases.meant_for(MemoryBackend(), MemoryBackend.features)]

    assert issubclass(MemoryBackend, Logs)
    with pytest.raises(AssertionError, match=r"must pass these cases too: .*LogAppendCases"):
        conformance.check_inheritance(MemoryBackend(), queues_only)


def test_logs_alone_need_the_cases_of_logs_only():
    logs = MemoryLogs()

    conformance.check_inheritance(logs, [cases for cases in log_cases() if cases.meant_for(logs, logs.features)])
