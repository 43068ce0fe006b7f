"""The suite itself: it misses no class, takes none too many, and sees what a store does wrong."""

import itertools
from contextlib import nullcontext

import msgspec
import pytest
from hypothesis import Phase

from holdfast.delivery import Crash
from holdfast.errors import BackendError
from holdfast.stores.memory import MemoryBackend
from holdfast.testing import MovableClock, conformance
from holdfast.testing.conformance.inheritance import all_cases
from holdfast.testing.conformance.judge import MachineJudge
from holdfast.testing.conformance.model import run_model
from tests.stores.memory_harness import MemoryHarness


class FarHarness(MemoryHarness):
    """A memory store that is reached through connections: after a cut its next call fails, before it or after it."""

    def __init__(self, store=MemoryBackend):
        super().__init__()
        self.clock = MovableClock(ticking=False)
        self._store = store(self.clock)


class Far(MemoryBackend):
    """Fails once after a cut; every second time the call has taken effect all the same."""

    features = msgspec.structs.replace(MemoryBackend.features, multi_host=True)
    cuts = itertools.count()

    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        if name not in {"send", "lease", "settle", "stats", "wait"}:
            return method

        def call(*arguments, **options):
            was_cut, self.cut = getattr(self, "cut", False), False
            if was_cut and next(self.cuts) % 2:
                method(*arguments, **options)
            if was_cut:
                raise BackendError("the connection broke", retryable=True, outcome_unknown=True)
            return method(*arguments, **options)

        return call


class CutHarness(FarHarness):
    def __init__(self):
        super().__init__(Far)

    def cut(self, backend):
        backend.cut = True


@pytest.fixture
def harness():
    with CutHarness() as harness:
        yield harness


class TestConnection(conformance.ConnectionCases): ...


def classes_for(backend):
    return [cases for cases in all_cases() if cases.meant_for(backend, backend.features)]


def test_a_store_that_inherits_what_is_meant_passes():
    backend = MemoryBackend()

    conformance.check_inheritance(backend, classes_for(backend))


def test_a_missing_class_is_named():
    backend = MemoryBackend()
    classes = set(classes_for(backend)) - {conformance.KeyCases}

    with pytest.raises(AssertionError, match="must pass these cases too: KeyCases"):
        conformance.check_inheritance(backend, classes)


def test_a_class_too_many_is_named():
    backend = MemoryBackend()
    classes = [*classes_for(backend), conformance.DurableCases]

    with pytest.raises(AssertionError, match="does not have the power or promise of these cases: DurableCases"):
        conformance.check_inheritance(backend, classes)


def test_every_case_has_a_sentence_and_a_promise():
    cases = {
        f"{group.__name__}.{name}": case
        for group in all_cases()
        for name, case in vars(group).items()
        if name.startswith("test_")
    }

    assert len(cases) > 400
    assert [name for name, case in cases.items() if not case.__doc__ or len(name.split("_")) < 3] == []


class Forgetful(MemoryBackend):
    """Loses a job now and then."""

    def settle(self, settlements):
        lost = super().settle(settlements)
        return lost[1:]


def test_the_model_sees_a_store_that_reports_too_little():
    with FarHarness(Forgetful) as harness, pytest.raises(AssertionError):
        run_model(harness, harness.open(), MachineJudge, examples=500, phases=[Phase.generate], database=None)


class Unfenced(MemoryBackend):
    """Charges a crash each time it is told of it."""

    def settle(self, settlements):
        lost = super().settle(settlements)
        for one in settlements:
            if isinstance(one, Crash) and one.receipt in lost:
                self._engine.places[one.receipt.queue].machine.heads[one.receipt.id].crashes += 1
        return lost


@pytest.mark.parametrize("verb", ["settle", "send"])
def test_the_cases_of_doubt_see_a_crash_that_is_charged_twice(verb):
    with FarHarness(Unfenced) as harness:
        cases = conformance.DoubtCases()
        cases.harness, cases.store = harness, harness.open()
        expected = pytest.raises(AssertionError) if verb == "settle" else nullcontext()

        with expected:
            cases.test_a_call_made_again_comes_to_what_one_call_comes_to(verb)
