"""The SQLite store passes the conformance suite, through both drivers."""

import pytest

from holdfast.testing import conformance
from tests.stores.sqlite_harness import SqliteHarness


@pytest.fixture(params=["apsw", "sqlite3"])
def harness(tmp_path, request):
    with SqliteHarness(tmp_path, f"?driver={request.param}") as harness:
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


def test_no_case_class_is_missing_and_none_is_too_many(harness):
    tests = [value for name, value in globals().items() if name.startswith("Test")]

    conformance.check_inheritance(harness.open(), tests)
