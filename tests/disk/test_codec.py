"""Columns come back as they were packed, whatever they hold; what was not packed is refused."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.columns import CODECS, Damaged, _even_cutter, pack, unpack
from holdfast.config import BATCH_MOST
from tests.disk.layers import seeds, share

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BODIES = st.lists(st.binary(max_size=300), min_size=1, max_size=40)


def optional(draw, count):
    return draw(st.none() | st.lists(st.none() | st.binary(max_size=60), min_size=count, max_size=count))


@st.composite
def columns(draw):
    bodies = draw(BODIES)
    return bodies, optional(draw, len(bodies)), optional(draw, len(bodies))


def round_trip(columns, compression, padding=b""):
    attributes, pieces = pack(*columns, compression)
    return unpack(b"".join(pieces) + padding, len(columns[0]), attributes)


@given(columns(), st.sampled_from(list(CODECS)), st.integers(0, 7))
@settings(max_examples=1_000, deadline=None)
def test_columns_come_back_as_they_were_packed(columns, compression, padding):
    assert round_trip(columns, compression, bytes(padding)) == columns


@given(st.binary(max_size=400), st.integers(0, 50), st.integers(0, 0xFFFF))
@settings(max_examples=1_000, deadline=None)
def test_any_bytes_are_columns_or_damaged_and_nothing_else(data, count, attributes):
    try:
        bodies, keys, headers = unpack(data, count, attributes)
    except Damaged:
        return
    assert len(bodies) == count
    assert all(column is None or len(column) == count for column in (keys, headers))


@share(8_000)
def test_random_columns_come_back_as_they_were_packed(cases, record_property):
    for seed in seeds(cases, record_property):
        draw = random.Random(seed)
        columns, compression = drawn_columns(draw), draw.choice(list(CODECS))

        assert round_trip(columns, compression, bytes(draw.randrange(8))) == columns, f"seed {seed}"


@pytest.mark.parametrize("compression", list(CODECS))
@pytest.mark.parametrize(
    "bodies", [[b""], [b""] * 1_000_000, [b"x" * (BATCH_MOST - 4)]], ids=["0 B", "1 M × 0 B", "64 MiB"]
)
def test_the_limits_come_back_as_they_were_packed(bodies, compression):
    assert round_trip((bodies, None, None), compression)[0] == bodies


def test_columns_that_are_larger_than_an_append_may_be_are_refused():
    attributes, pieces = pack([b"x" * BATCH_MOST], compression="zstd")

    with pytest.raises(Damaged, match="more than an append may have"):
        unpack(b"".join(pieces), 1, attributes)


def drawn_columns(draw):
    count = draw.choice((1, 1, 2, 7, 8, 9, draw.randrange(1, 300)))
    most = draw.choice((0, 1, 10, 100, 1000))

    def column(absent):
        return [None if draw.random() < absent else draw.randbytes(draw.randint(0, most)) for _ in range(count)]

    return column(0), draw.choice((None, column(0.5))), draw.choice((None, column(0.2), column(1)))


def test_reading_large_appends_of_even_messages_keeps_nothing():
    kept, bodies = _even_cutter.cache_info().currsize, [b"x"] * 5000
    attributes, pieces = pack(bodies)

    assert unpack(b"".join(pieces), len(bodies), attributes)[0] == bodies
    assert _even_cutter.cache_info().currsize == kept
