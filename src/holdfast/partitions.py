"""Which partition of a log a message goes to: by its key, exactly as Kafka's default partitioner places it."""

from __future__ import annotations

import struct
from functools import lru_cache

_WORDS = struct.Struct("<I")
_ALL = 0xFFFFFFFF
_SEED, _MULTIPLIER = 0x9747B28C, 0x5BD1E995


@lru_cache(maxsize=1 << 14)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: the same for ever, as long as there are as many partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the hash that Kafka's clients use for keys (Austin Appleby's MurmurHash2, its seed fixed), 32 bits."""
    value = _SEED ^ len(data)
    whole = len(data) & ~3
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        mixed = word * _MULTIPLIER & _ALL
        mixed = (mixed ^ mixed >> 24) * _MULTIPLIER & _ALL
        value = value * _MULTIPLIER & _ALL ^ mixed
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _ALL
    value = (value ^ value >> 13) * _MULTIPLIER & _ALL
    return value ^ value >> 15
