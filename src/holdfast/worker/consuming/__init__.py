"""Consumes logs: a worker leases the messages of groups beside the jobs of queues, and settles them like jobs.

The messages of a group stand in a queue called ``<log>.<group>``; its dead letters are jobs there, and run again in
the same handler when they are replayed.
"""

from holdfast.worker.consuming.backend import Consuming, store_behind
from holdfast.worker.consuming.places import Place, id_of, place_of, queue_of
from holdfast.worker.consuming.reading import Reading

__all__ = ["Consuming", "Place", "Reading", "id_of", "place_of", "queue_of", "store_behind"]
