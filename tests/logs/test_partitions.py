"""Keys go where Kafka's default partitioner would put them."""

import pytest

from holdfast.partitions import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # The vectors of Kafka's own tests of its hash, as signed numbers there.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_hash_that_kafka_gives_it(key, value):
    assert murmur2(key) == value % 2**32


def test_a_partition_is_the_positive_part_of_the_hash_by_their_number():
    assert partition_of(b"foobar", 12) == (-790332482 & 0x7FFFFFFF) % 12
    assert partition_of(b"", 1) == 0


def test_keys_spread_over_all_partitions():
    found = [partition_of(b"user-%d" % number, 8) for number in range(8000)]
    counts = [found.count(partition) for partition in range(8)]
    assert min(counts) > 800
