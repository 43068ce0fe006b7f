"""A store that fails on command: it has the powers of the store it wraps, and fails when and how it was told to."""

import threading

import pytest

from holdfast import capabilities
from holdfast.contract import QueueBackend
from holdfast.errors import BackendError, Closed, QueueFull, UsageError
from holdfast.message import Message
from holdfast.stores.memory import MemoryBackend
from holdfast.testing import Faults

PATIENCE = 10
POWERS = [
    power
    for power in vars(capabilities).values()
    if isinstance(power, type) and getattr(power, "_is_runtime_protocol", False)
]


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def inner():
    store = MemoryBackend()
    yield store
    store.close()


@pytest.fixture
def store(faults, inner):
    return faults.wrap(inner)


def send(store, body=b""):
    return store.send("q", [Message(body=body)])


@pytest.mark.parametrize("power", POWERS, ids=lambda power: power.__name__)
def test_a_wrapped_store_has_the_powers_of_the_store(store, inner, power):
    assert isinstance(store, power) is isinstance(inner, power)
    assert (power in type(store).__mro__) is (power in type(inner).__mro__)


def test_a_wrapped_store_without_a_power_does_not_get_it(faults):
    class Bare(QueueBackend):
        features = MemoryBackend.features

    store = faults.wrap(Bare())

    assert isinstance(store, QueueBackend)
    assert not any(isinstance(store, power) for power in POWERS)
    assert store.features is MemoryBackend.features


def test_without_a_command_every_call_is_passed_on(store, inner, faults):
    send(store)

    assert inner.stats("q").ready == 1
    assert faults.calls["send"] == 1


def test_a_refused_call_has_no_effect(store, inner, faults):
    faults.fail("send")

    with pytest.raises(BackendError, match="send failed on demand") as refused:
        send(store)

    assert (refused.value.retryable, refused.value.outcome_unknown) == (True, False)
    assert inner.stats("q").ready == 0
    send(store)
    assert inner.stats("q").ready == 1


def test_a_call_may_take_effect_and_be_reported_as_failed(store, inner, faults):
    faults.fail("send", after=True)

    with pytest.raises(BackendError) as failed:
        send(store)

    assert failed.value.outcome_unknown
    assert inner.stats("q").ready == 1


def test_the_nth_call_fails_and_so_many_after_it(store, faults):
    faults.fail("send", 2, nth=3)

    outcomes = []
    for _ in range(6):
        try:
            send(store)
            outcomes.append("sent")
        except BackendError:
            outcomes.append("failed")

    assert outcomes == ["sent", "sent", "failed", "failed", "sent", "sent"]


def test_a_call_fails_with_the_error_that_was_asked_for(store, faults):
    faults.fail("send", error=QueueFull("no room"))

    with pytest.raises(QueueFull, match="no room"):
        send(store)


def test_other_verbs_are_left_alone(store, faults):
    faults.fail("lease", 100)

    send(store)


def test_a_store_that_is_cut_off_does_nothing_until_it_is_restored(store, inner, faults):
    faults.cut()

    for call in (lambda: send(store), lambda: store.stats("q"), store.tidy):
        with pytest.raises(BackendError, match="cut off"):
            call()
    faults.restore()

    send(store)
    assert inner.stats("q").ready == 1


def test_a_store_that_is_cut_off_can_be_closed(store, faults):
    faults.cut()
    store.close()
    faults.restore()

    with pytest.raises(Closed):
        send(store)


def test_mending_takes_every_command_back(store, faults):
    faults.fail("send", 100)
    faults.cut()
    faults.mend()

    send(store)


def test_a_call_that_is_held_up_takes_effect_when_it_is_let_go(store, inner, faults):
    with faults.hold("send") as hold:
        sender = threading.Thread(target=send, args=(store,))
        sender.start()
        hold.wait()
        assert inner.stats("q").ready == 0
        hold.let_go()
        sender.join(PATIENCE)

    assert inner.stats("q").ready == 1


def test_the_end_of_the_block_lets_go(store, inner, faults):
    with faults.hold("send") as hold:
        sender = threading.Thread(target=send, args=(store,))
        sender.start()
        hold.wait()
    sender.join(PATIENCE)

    assert inner.stats("q").ready == 1
    send(store)


def test_waiting_for_calls_ends_when_they_have_come(store, faults):
    senders = [threading.Thread(target=send, args=(store,)) for _ in range(3)]
    for sender in senders:
        sender.start()

    faults.wait_for_calls("send", 3)

    for sender in senders:
        sender.join(PATIENCE)
    with pytest.raises(AssertionError, match="'lease' was called 0 times, not 1"):
        faults.wait_for_calls("lease", 1, patience=0)


def test_a_verb_that_no_store_has_is_an_error_that_suggests_one(store, faults):
    with pytest.raises(UsageError, match=r"no verb 'sned'.*'send'"):
        faults.fail("sned")


def test_of_many_threads_exactly_so_many_fail(store, faults):
    faults.fail("send", 50)
    failed = []

    def send_many():
        for _ in range(25):
            try:
                send(store)
            except BackendError as error:
                failed.append(error)

    senders = [threading.Thread(target=send_many) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(PATIENCE)

    assert len(failed) == 50


@pytest.mark.parametrize("how", [{"times": 0}, {"nth": 0}, {"times": -1}])
def test_a_failure_that_would_never_come_or_never_end_is_refused(how):
    with pytest.raises(UsageError, match="1 or more"):
        Faults().fail("send", **how)
