"""Streams of a Redis or Valkey that others fill, read through consumer groups of the server's own."""

from holdfast.stores.redis.streams.backend import BesideStreams, RedisStreams

__all__ = ["BesideStreams", "RedisStreams"]
