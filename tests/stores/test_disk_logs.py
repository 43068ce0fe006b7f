"""The logs of the disk store pass the conformance suite."""

import pytest

from holdfast.testing import conformance
from tests.stores.disk_harness import DiskLogHarness

pytestmark = pytest.mark.slow  # `make quick` is for memory and SQLite


@pytest.fixture
def harness(tmp_path):
    with DiskLogHarness(tmp_path) as harness:
        yield harness


class TestLogAppend(conformance.LogAppendCases): ...


class TestLogClose(conformance.LogCloseCases): ...


class TestLogCompression(conformance.LogCompressionCases): ...


class TestLogConsumed(conformance.LogConsumedCases): ...


class TestLogCrash(conformance.LogCrashCases): ...


class TestLogDeclare(conformance.LogDeclareCases): ...


class TestLogDestroy(conformance.LogDestroyCases): ...


class TestLogDurable(conformance.LogDurableCases): ...


class TestLogDurableGroup(conformance.LogDurableGroupCases): ...


class TestLogEnds(conformance.LogEndsCases): ...


class TestLogFind(conformance.LogFindCases): ...


class TestLogFinished(conformance.LogFinishedCases): ...


class TestLogGone(conformance.LogGoneCases): ...


class TestLogGroup(conformance.LogGroupCases): ...


class TestLogHandle(conformance.LogHandleCases): ...


class TestLogHandleGroup(conformance.LogHandleGroupCases): ...


class TestLogLag(conformance.LogLagCases): ...


class TestLogLease(conformance.LogLeaseCases): ...


class TestLogLimit(conformance.LogLimitCases): ...


@pytest.mark.slow
@pytest.mark.timeout(400)  # when it fails, the shortest failing life of a log is looked for
class TestLogModel(conformance.LogModelCases):
    lives = 300

    @pytest.fixture
    def harness(self, harness, monkeypatch):
        monkeypatch.setattr(harness, "open_logs", harness.open_unsynced)
        return harness


class TestLogName(conformance.LogNameCases): ...


class TestLogOffset(conformance.LogOffsetCases): ...


class TestLogPoll(conformance.LogPollCases): ...


class TestLogProducer(conformance.LogProducerCases): ...


class TestLogRead(conformance.LogReadCases): ...


class TestLogRefusal(conformance.LogRefusalCases): ...


class TestLogRetention(conformance.LogRetentionCases): ...


class TestLogRetire(conformance.LogRetireCases): ...


class TestLogSeek(conformance.LogSeekCases): ...


class TestLogShare(conformance.LogShareCases): ...


class TestLogStandby(conformance.LogStandbyCases): ...


class TestLogStart(conformance.LogStartCases): ...


class TestLogThread(conformance.LogThreadCases): ...


class TestLogTime(conformance.LogTimeCases): ...


class TestLogVersion(conformance.LogVersionCases): ...


class TestLogWake(conformance.LogWakeCases): ...


@pytest.mark.slow
class TestLogKill(conformance.LogKillCases): ...


def test_no_case_class_is_missing_and_none_is_too_many(harness):
    tests = [value for name, value in globals().items() if name.startswith("Test")]

    conformance.check_inheritance(harness.open_logs(), tests)
