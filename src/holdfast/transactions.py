"""Sends and acks inside a caller's own transaction, on stores that have the power."""

from __future__ import annotations

from holdfast.capabilities import Inspectable, Transactional
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Delivery, State
from holdfast.errors import LeaseLost, NotSupported


def transactional(store: QueueBackend) -> Transactional:
    """Return the store as one that takes callers' connections; ``NotSupported``, before any I/O, when it is none."""
    if not isinstance(store, Transactional):
        raise NotSupported(f"{type(store).__name__} takes no connection=: it cannot be part of another transaction")
    return store


def ack_in(store: QueueBackend, connection: object, delivery: Delivery, ack: Ack) -> None:
    """Ack inside the caller's transaction; ``LeaseLost`` when the lease is lost, and nothing should be committed."""
    if transactional(store).settle_in(connection, [ack]):
        raise LeaseLost(
            f"queue {delivery.queue!r}, job {delivery.id}: its lease is lost, another run may be doing this work; "
            "roll your transaction back"
        )
    delivery.acked = ack


def is_done(store: QueueBackend, delivery: Delivery) -> bool:
    """Tell whether a delivery was acked inside a transaction that has been committed."""
    if delivery.acked is None or not isinstance(store, Inspectable):
        return False
    view = store.get(delivery.queue, delivery.id)
    if view is None:  # dropped at once by retention
        return True
    return view.state is State.DONE and view.token == delivery.token
