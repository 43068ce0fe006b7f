"""The logs of a Redis or Valkey: a stream of appends a partition, and the groups of a log in a slot of their own."""

from __future__ import annotations

from holdfast.stores.redis.logs.backend import RedisLogs

__all__ = ["RedisLogs"]
