"""The conformance suite: what every store must do, as pytest classes that a store's own tests inherit.

See :mod:`holdfast.testing.conformance.harness` for how a store is brought to it. It needs pytest and hypothesis.
"""

from __future__ import annotations

from holdfast.testing.conformance.cases import Cases
from holdfast.testing.conformance.harness import Harness
from holdfast.testing.conformance.inheritance import check_inheritance
from holdfast.testing.conformance.keys import HeldCases, KeyCases
from holdfast.testing.conformance.leasing import GiveBackCases, LeaseCases
from holdfast.testing.conformance.ordering import KindCases, OrderCases
from holdfast.testing.conformance.sending import BodyCases, DelayCases, SendCases
from holdfast.testing.conformance.settling import FollowUpCases, RetryCases, SettleCases

__all__ = [
    "BodyCases",
    "Cases",
    "DelayCases",
    "FollowUpCases",
    "GiveBackCases",
    "Harness",
    "HeldCases",
    "KeyCases",
    "KindCases",
    "LeaseCases",
    "OrderCases",
    "RetryCases",
    "SendCases",
    "SettleCases",
    "check_inheritance",
]
