"""The logs of a Redis or Valkey pass the conformance suite."""

import pytest

from holdfast.testing import conformance
from tests.redis.log_harness import RedisLogHarness


@pytest.fixture
def harness(tmp_path, redis_place):
    with RedisLogHarness(redis_place, tmp_path) as harness:
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


class TestLogSilence(conformance.LogSilenceCases): ...


class TestLogCrash(conformance.LogCrashCases): ...


class TestLogPoll(conformance.LogPollCases): ...


class TestLogWake(conformance.LogWakeCases): ...


class TestLogSeek(conformance.LogSeekCases): ...


class TestLogGone(conformance.LogGoneCases): ...


class TestLogShare(conformance.LogShareCases): ...


class TestLogStandby(conformance.LogStandbyCases): ...


class TestLogVersion(conformance.LogVersionCases): ...


class TestLogClose(conformance.LogCloseCases): ...


class TestLogRetention(conformance.LogRetentionCases): ...


class TestLogConsumed(conformance.LogConsumedCases): ...


class TestLogLimit(conformance.LogLimitCases): ...


class TestLogLag(conformance.LogLagCases): ...


class TestLogGroup(conformance.LogGroupCases): ...


class TestLogDurable(conformance.LogDurableCases): ...


class TestLogDurableGroup(conformance.LogDurableGroupCases): ...


class TestLogHandle(conformance.LogHandleCases): ...


class TestLogHandleGroup(conformance.LogHandleGroupCases): ...


@pytest.mark.slow
class TestLogKill(conformance.LogKillCases): ...


@pytest.mark.slow
@pytest.mark.timeout(400)  # when it fails, the shortest failing life of a log is looked for
class TestLogModel(conformance.LogModelCases):
    lives = 200


def test_no_case_class_is_missing_and_none_is_too_many(harness):
    tests = [value for name, value in globals().items() if name.startswith("Test")]

    conformance.check_inheritance(harness.open_logs(), tests)
