"""Processes that died at a message: each death is charged to it once, whoever sees it."""

from holdfast.delivery import HolderInfo, Receipt
from holdfast.logged import Start
from holdfast.worker.consuming.places import token_of

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
