"""The conformance suite: what every store must do, as pytest classes that a store's own tests inherit.

See :mod:`holdfast.testing.conformance.harness` for how a store is brought to it. It needs pytest and hypothesis.
"""

from __future__ import annotations

from holdfast.testing.conformance.cases import Cases
from holdfast.testing.conformance.counting import StatsCases
from holdfast.testing.conformance.expiring import ExpiryCases
from holdfast.testing.conformance.harness import Harness
from holdfast.testing.conformance.holding import CrashCases, HolderCases, RetireCases
from holdfast.testing.conformance.inheritance import check_inheritance
from holdfast.testing.conformance.keeping import RetentionCases, TidyCases
from holdfast.testing.conformance.keys import HeldCases, KeyCases
from holdfast.testing.conformance.leasing import GiveBackCases, LeaseCases
from holdfast.testing.conformance.ordering import KindCases, OrderCases
from holdfast.testing.conformance.places import DestroyCases, QueueCases
from holdfast.testing.conformance.sending import BodyCases, DelayCases, SendCases
from holdfast.testing.conformance.settling import FollowUpCases, RetryCases, SettleCases

__all__ = [
    "BodyCases",
    "Cases",
    "CrashCases",
    "DelayCases",
    "DestroyCases",
    "ExpiryCases",
    "FollowUpCases",
    "GiveBackCases",
    "Harness",
    "HeldCases",
    "HolderCases",
    "KeyCases",
    "KindCases",
    "LeaseCases",
    "OrderCases",
    "QueueCases",
    "RetentionCases",
    "RetireCases",
    "RetryCases",
    "SendCases",
    "SettleCases",
    "StatsCases",
    "TidyCases",
    "check_inheritance",
]
