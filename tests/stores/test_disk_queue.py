"""The disk store's queues pass the conformance suite."""

import pytest

from holdfast.stores.disk.queue import DiskQueues
from holdfast.testing import conformance
from holdfast.testing.conformance.model import PARTS
from tests.stores import test_disk_logs
from tests.stores.disk_queue_harness import DiskHarness, Reopened, Replayed, ReplayedEachTime

pytestmark = pytest.mark.slow  # `make quick` is for memory and SQLite


def long(store_class):
    return pytest.param(store_class, marks=pytest.mark.long)


@pytest.fixture(params=[DiskQueues, Replayed, long(Reopened), long(ReplayedEachTime)])
def harness(tmp_path, request):
    with DiskHarness(tmp_path, request.param) as harness:
        yield harness


class TestSend(conformance.SendCases): ...


class TestBody(conformance.BodyCases): ...


class TestDelay(conformance.DelayCases): ...


class TestOrder(conformance.OrderCases): ...


class TestKind(conformance.KindCases): ...


class TestKey(conformance.KeyCases): ...


class TestHeld(conformance.HeldCases): ...


class TestLease(conformance.LeaseCases): ...


class TestGiveBack(conformance.GiveBackCases): ...


class TestSettle(conformance.SettleCases): ...


class TestFollowUp(conformance.FollowUpCases): ...


class TestRetry(conformance.RetryCases): ...


class TestCrash(conformance.CrashCases): ...


class TestCrashRun(conformance.CrashRunCases): ...


class TestCharge(conformance.ChargeCases): ...


class TestDestroy(conformance.DestroyCases): ...


class TestExamine(conformance.ExamineCases): ...


class TestExamineLog(conformance.ExamineLogCases): ...


class TestExpiry(conformance.ExpiryCases): ...


class TestHolder(conformance.HolderCases): ...


class TestQueue(conformance.QueueCases): ...


class TestRetention(conformance.RetentionCases): ...


class TestBeat(conformance.BeatCases): ...


class TestListed(conformance.ListedCases): ...


class TestRetire(conformance.RetireCases): ...


class TestStats(conformance.StatsCases): ...


class TestTidy(conformance.TidyCases): ...


class TestClose(conformance.CloseCases): ...


class TestQuiet(conformance.QuietCases): ...


class TestWait(conformance.WaitCases): ...


class TestThread(conformance.ThreadCases): ...


class TestBrowse(conformance.BrowseCases): ...


class TestFilter(conformance.FilterCases): ...


class TestGet(conformance.GetCases): ...


class TestRun(conformance.RunCases): ...


class TestCancel(conformance.CancelCases): ...


class TestCancelRunning(conformance.CancelRunningCases): ...


class TestReplay(conformance.ReplayCases): ...


class TestRevive(conformance.ReviveCases): ...


class TestBuried(conformance.BuriedCases): ...


class TestDeadLetter(conformance.DeadLetterCases): ...


class TestFlush(conformance.FlushCases): ...


class TestRemove(conformance.RemoveCases): ...


class TestReplayPages(conformance.ReplayPagesCases): ...


class TestPause(conformance.PauseCases): ...


class TestRace(conformance.RaceCases): ...


class TestDoubt(conformance.DoubtCases): ...


class TestCommand(conformance.CommandCases): ...


class TestProgress(conformance.ProgressCases): ...


class TestOutcome(conformance.OutcomeCases): ...


class TestWatch(conformance.WatchCases): ...


class TestDurable(conformance.DurableCases): ...


class TestDurablePowers(conformance.DurablePowersCases): ...


class TestDurableDeadLetter(conformance.DurableDeadLetterCases): ...


class TestUnique(conformance.UniqueCases): ...


class TestConflict(conformance.ConflictCases): ...


class TestReplace(conformance.ReplaceCases): ...


class TestDebounce(conformance.DebounceCases): ...


class TestWithin(conformance.WithinCases): ...


class TestUniqueBatch(conformance.UniqueBatchCases): ...


class TestReentry(conformance.ReentryCases): ...


class TestUniquePowers(conformance.UniquePowersCases): ...


class TestLimit(conformance.LimitCases): ...


class TestDue(conformance.DueCases): ...


class TestDurableSchedule(conformance.DurableScheduleCases): ...


class TestFire(conformance.FireCases): ...


class TestOverlap(conformance.OverlapCases): ...


class TestSchedule(conformance.ScheduleCases): ...


class TestTick(conformance.TickCases): ...


class TestLogsOfStore(conformance.LogsOfStoreCases): ...


@pytest.mark.timeout(400)  # when it fails, the shortest failing life of a queue is looked for
class TestModel(conformance.ModelCases):
    @pytest.fixture
    def harness(self, tmp_path):
        with DiskHarness(tmp_path) as harness:
            yield harness

    # The engine is the memory store's, which goes through all of them each time.
    @pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, PARTS))])
    def test_the_store_does_what_the_machine_does(self, part):
        super().test_the_store_does_what_the_machine_does(part)


def test_no_case_class_is_missing_and_none_is_too_many(harness):
    tests = [value for module in (globals(), vars(test_disk_logs)) for name, value in module.items() if "Test" in name]

    conformance.check_inheritance(harness.open(), tests)
