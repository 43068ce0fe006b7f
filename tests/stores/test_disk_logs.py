"""The logs of the disk store pass the conformance suite."""

import pytest

from holdfast.testing import conformance
from tests.stores.disk_harness import DiskLogHarness


@pytest.fixture
def harness(tmp_path):
    with DiskLogHarness(tmp_path) as harness:
        yield harness


class TestLogAppend(conformance.LogAppendCases): ...


class TestLogRefusal(conformance.LogRefusalCases): ...


class TestLogTime(conformance.LogTimeCases): ...


class TestLogThread(conformance.LogThreadCases): ...


class TestLogDeclare(conformance.LogDeclareCases): ...


class TestLogDestroy(conformance.LogDestroyCases): ...


class TestLogName(conformance.LogNameCases): ...


class TestLogStart(conformance.LogStartCases): ...


class TestLogOffset(conformance.LogOffsetCases): ...


class TestLogLease(conformance.LogLeaseCases): ...


class TestLogFinished(conformance.LogFinishedCases): ...


class TestLogProducer(conformance.LogProducerCases): ...


class TestLogCompression(conformance.LogCompressionCases): ...


class TestLogRead(conformance.LogReadCases): ...


class TestLogEnds(conformance.LogEndsCases): ...


class TestLogFind(conformance.LogFindCases): ...


class TestLogRetire(conformance.LogRetireCases): ...


class TestLogCrash(conformance.LogCrashCases): ...


class TestLogPoll(conformance.LogPollCases): ...


class TestLogWake(conformance.LogWakeCases): ...


class TestLogSeek(conformance.LogSeekCases): ...


class TestLogGone(conformance.LogGoneCases): ...


class TestLogShare(conformance.LogShareCases): ...


class TestLogStandby(conformance.LogStandbyCases): ...


class TestLogVersion(conformance.LogVersionCases): ...


def test_no_case_class_is_missing_and_none_is_too_many(harness):
    tests = [value for name, value in globals().items() if name.startswith("Test")]

    conformance.check_inheritance(harness.open_logs(), tests)
