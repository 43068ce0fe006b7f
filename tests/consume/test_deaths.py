"""Processes that died at a message: each death is charged to it once, whoever sees it."""

from holdfast import App
from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.delivery import HolderInfo, Receipt
from holdfast.events import BeforeBury
from holdfast.logged import Start
from holdfast.stores import open_store
from holdfast.testing.faults import Faults
from holdfast.worker.consuming.places import token_of
from tests.consume.conftest import Orders, dead
from tests.worker.conftest import Ear

DEAD = HolderInfo(id="dead#1", pid=2**22 + 1, ttl=10)


def test_a_death_that_is_told_again_charges_nothing_more(orders):
    orders.append(b"0", b"1", b"2")
    (chunk, *_) = orders.app.log_backend.join("orders", "billing", DEAD, start=Start()).poll(limit=3, wait=0)
    runs = [Receipt("orders.billing", f"orders/billing/0/{at}", token_of(chunk.version, 1)) for at in range(2)]
    served = orders.app._life.served()

    charged = [served.retire("dead#1", "worker died: SIGKILL", runs) for _ in range(2)]

    assert charged == [2, 0]
    assert {at: len(one) for at, one in orders.app.log_backend.crashes("orders", "billing", 0).items()} == {0: 1, 1: 1}


def test_a_death_at_a_message_that_is_done_charges_nothing(orders):
    orders.append(b"0")
    orders.seek({0: 1})
    done = Receipt("orders.billing", "orders/billing/0/0", token_of(1, 1))

    assert orders.app._life.served().retire("dead#1", "worker died: SIGKILL", [done]) == 0


def test_that_a_message_is_buried_unrun_is_told_once_though_its_dead_letter_takes_several_tries():
    faults = Faults()
    with App("memory:") as app, app._life.lend(faults.wrap(open_store(parse_url("memory:"))), SYSTEM):
        orders, ear = Orders(app), Ear(app.events)

        @app.consume(log="orders", group="billing")
        def bill(body: bytes) -> None: ...

        orders.append(b"deadly")
        orders.seek({0: 0})
        for run in range(3):
            app.log_backend.charge("orders", "billing", 0, 0, run=run, reason="worker died: SIGKILL")
        faults.fail("put_dead", times=2)
        with app.worker(drain=True) as made:
            assert made.join(10) is not None

        assert len(dead(app)) == len(ear.heard(BeforeBury)) == 1
