"""The conformance suite: what every store must do, as pytest classes that a store's own tests inherit.

See :mod:`holdfast.testing.conformance.harness` for how a store is brought to it. It needs pytest and hypothesis.
"""

from __future__ import annotations

from holdfast.testing.conformance.beating import BeatCases, ListedCases
from holdfast.testing.conformance.burying import BuriedCases, DeadLetterCases, DurableDeadLetterCases
from holdfast.testing.conformance.cancelling import CancelCases, CancelRunningCases
from holdfast.testing.conformance.cases import Cases
from holdfast.testing.conformance.commanding import CommandCases, HandleCommandCases
from holdfast.testing.conformance.conflicts import ConflictCases, DebounceCases, ReplaceCases
from holdfast.testing.conformance.connections import ConnectionCases
from holdfast.testing.conformance.counting import StatsCases
from holdfast.testing.conformance.crashing import CrashCases, CrashRunCases
from holdfast.testing.conformance.doubting import DoubtCases
from holdfast.testing.conformance.durable import DurableCases, DurablePowersCases
from holdfast.testing.conformance.examining import ExamineCases, ExamineLogCases
from holdfast.testing.conformance.expiring import ExpiryCases
from holdfast.testing.conformance.filtering import FilterCases
from holdfast.testing.conformance.firing import FireCases, OverlapCases, TickCases
from holdfast.testing.conformance.flushing import FlushCases, RemoveCases
from holdfast.testing.conformance.harness import Caller, Harness, Owner
from holdfast.testing.conformance.holding import ChargeCases, HolderCases, RetireCases
from holdfast.testing.conformance.holding_logs import LogsOfStoreCases
from holdfast.testing.conformance.inheritance import check_inheritance
from holdfast.testing.conformance.inspecting import BrowseCases, GetCases, RunCases
from holdfast.testing.conformance.keeping import RetentionCases, TidyCases
from holdfast.testing.conformance.keys import HeldCases, KeyCases
from holdfast.testing.conformance.leasing import GiveBackCases, LeaseCases
from holdfast.testing.conformance.limiting import LimitCases
from holdfast.testing.conformance.logs.appending import LogAppendCases, LogRefusalCases, LogThreadCases, LogTimeCases
from holdfast.testing.conformance.logs.cases import LogCases
from holdfast.testing.conformance.logs.closing import LogCloseCases
from holdfast.testing.conformance.logs.declaring import LogDeclareCases, LogDestroyCases, LogNameCases
from holdfast.testing.conformance.logs.durable import LogDurableCases, LogDurableGroupCases
from holdfast.testing.conformance.logs.ending import LogCrashCases, LogRetireCases, LogSilenceCases
from holdfast.testing.conformance.logs.grouping import LogFinishedCases, LogLeaseCases, LogOffsetCases, LogStartCases
from holdfast.testing.conformance.logs.handles import LogHandleCases, LogHandleGroupCases
from holdfast.testing.conformance.logs.harness import LogHarness
from holdfast.testing.conformance.logs.keeping import LogConsumedCases, LogLimitCases, LogRetentionCases
from holdfast.testing.conformance.logs.killing import LogKillCases
from holdfast.testing.conformance.logs.lagging import LogGroupCases, LogLagCases
from holdfast.testing.conformance.logs.model import LogModelCases
from holdfast.testing.conformance.logs.polling import LogPollCases, LogWakeCases
from holdfast.testing.conformance.logs.producing import LogCompressionCases, LogProducerCases
from holdfast.testing.conformance.logs.reading import LogEndsCases, LogFindCases, LogReadCases
from holdfast.testing.conformance.logs.seeking import LogGoneCases, LogSeekCases, LogVersionCases
from holdfast.testing.conformance.logs.sharing import LogShareCases, LogStandbyCases
from holdfast.testing.conformance.model import ModelCases
from holdfast.testing.conformance.ordering import KindCases, OrderCases
from holdfast.testing.conformance.pausing import PauseCases
from holdfast.testing.conformance.places import DestroyCases, QueueCases
from holdfast.testing.conformance.processes import HandleCases, HandlePowersCases, KillCases
from holdfast.testing.conformance.progressing import ProgressCases
from holdfast.testing.conformance.racing import RaceCases
from holdfast.testing.conformance.reentering import ReentryCases, UniquePowersCases
from holdfast.testing.conformance.replaying import ReplayCases, ReplayPagesCases, ReviveCases
from holdfast.testing.conformance.resulting import OutcomeCases, WatchCases
from holdfast.testing.conformance.scheduling import DueCases, DurableScheduleCases, HandleScheduleCases, ScheduleCases
from holdfast.testing.conformance.sending import BodyCases, DelayCases, SendCases
from holdfast.testing.conformance.settling import FollowUpCases, RetryCases, SettleCases
from holdfast.testing.conformance.streams import (
    StreamCommitCases,
    StreamCrashCases,
    StreamGroupCases,
    StreamLagCases,
    StreamReadCases,
    StreamTakeoverCases,
)
from holdfast.testing.conformance.threads import ThreadCases
from holdfast.testing.conformance.transactions import SendInCases, SettleInCases
from holdfast.testing.conformance.unique import UniqueBatchCases, UniqueCases, WithinCases
from holdfast.testing.conformance.waiting import CloseCases, QuietCases, WaitCases

__all__ = [
    "BeatCases",
    "BodyCases",
    "BrowseCases",
    "BuriedCases",
    "Caller",
    "CancelCases",
    "CancelRunningCases",
    "Cases",
    "ChargeCases",
    "CloseCases",
    "CommandCases",
    "ConflictCases",
    "ConnectionCases",
    "CrashCases",
    "CrashRunCases",
    "DeadLetterCases",
    "DebounceCases",
    "DelayCases",
    "DestroyCases",
    "DoubtCases",
    "DueCases",
    "DurableCases",
    "DurableDeadLetterCases",
    "DurablePowersCases",
    "DurableScheduleCases",
    "ExamineCases",
    "ExamineLogCases",
    "ExpiryCases",
    "FilterCases",
    "FireCases",
    "FlushCases",
    "FollowUpCases",
    "GetCases",
    "GiveBackCases",
    "HandleCases",
    "HandleCommandCases",
    "HandlePowersCases",
    "HandleScheduleCases",
    "Harness",
    "HeldCases",
    "HolderCases",
    "KeyCases",
    "KillCases",
    "KindCases",
    "LeaseCases",
    "LimitCases",
    "ListedCases",
    "LogAppendCases",
    "LogCases",
    "LogCloseCases",
    "LogCompressionCases",
    "LogConsumedCases",
    "LogCrashCases",
    "LogDeclareCases",
    "LogDestroyCases",
    "LogDurableCases",
    "LogDurableGroupCases",
    "LogEndsCases",
    "LogFindCases",
    "LogFinishedCases",
    "LogGoneCases",
    "LogGroupCases",
    "LogHandleCases",
    "LogHandleGroupCases",
    "LogHarness",
    "LogKillCases",
    "LogLagCases",
    "LogLeaseCases",
    "LogLimitCases",
    "LogModelCases",
    "LogNameCases",
    "LogOffsetCases",
    "LogPollCases",
    "LogProducerCases",
    "LogReadCases",
    "LogRefusalCases",
    "LogRetentionCases",
    "LogRetireCases",
    "LogSeekCases",
    "LogShareCases",
    "LogSilenceCases",
    "LogStandbyCases",
    "LogStartCases",
    "LogThreadCases",
    "LogTimeCases",
    "LogVersionCases",
    "LogWakeCases",
    "LogsOfStoreCases",
    "ModelCases",
    "OrderCases",
    "OutcomeCases",
    "OverlapCases",
    "Owner",
    "PauseCases",
    "ProgressCases",
    "QueueCases",
    "QuietCases",
    "RaceCases",
    "ReentryCases",
    "RemoveCases",
    "ReplaceCases",
    "ReplayCases",
    "ReplayPagesCases",
    "RetentionCases",
    "RetireCases",
    "RetryCases",
    "ReviveCases",
    "RunCases",
    "ScheduleCases",
    "SendCases",
    "SendInCases",
    "SettleCases",
    "SettleInCases",
    "StatsCases",
    "StreamCommitCases",
    "StreamCrashCases",
    "StreamGroupCases",
    "StreamLagCases",
    "StreamReadCases",
    "StreamTakeoverCases",
    "ThreadCases",
    "TickCases",
    "TidyCases",
    "UniqueBatchCases",
    "UniqueCases",
    "UniquePowersCases",
    "WaitCases",
    "WatchCases",
    "WithinCases",
    "check_inheritance",
]
