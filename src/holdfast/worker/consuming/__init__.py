"""Consumes logs: a worker leases the messages of groups beside the jobs of queues, and settles them like jobs.

The messages of a group stand in a queue called ``<log>.<group>``; its dead letters are jobs there, and run again in
the same handler when they are replayed.
"""
