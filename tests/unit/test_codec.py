"""Codecs: what goes in comes back equal, what does not fit names its place, and nothing is cast."""

import collections.abc
import dataclasses
import enum
import subprocess
import sys
import typing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from holdfast.codec import BUILT_IN, Codec, choose
from holdfast.errors import ConfigError, Undecodable, UsageError


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Node:
    path: Path
    child: "Node | None" = None


@attrs.define
class Price:
    amount: Decimal


class Point(msgspec.Struct):
    x: int
    y: float = 0.0


class User(pydantic.BaseModel):
    id: int
    since: datetime
    colours: tuple[Colour, ...] = ()
    alias: str = pydantic.Field(default="", alias="nick")
    wait: timedelta = timedelta()

    @pydantic.computed_field
    def label(self) -> str:
        return f"user {self.id}"


class Order(msgspec.Struct):
    user: User | None
    points: list[Point]


NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
USER = User(id=7, since=NOON, colours=(Colour.RED,), nick="seven", wait=timedelta(hours=25))

VALUES = [
    (int, -(2**63)),
    (float, 0.1),
    (bool, True),
    (str, "ü\n\0"),
    (None, None),
    (bytes, b"\x00\xff"),
    (datetime, NOON),
    (date, date(2024, 2, 29)),
    (time, time(23, 59, 59, 999999)),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (UUID, UUID(int=5)),
    (Decimal, Decimal("1.10")),
    (Colour, Colour.RED),
    (Path, Path("/tmp/x")),
    (PurePosixPath, PurePosixPath("a/b")),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (dict[date, list[Colour]], {date(2024, 1, 1): [Colour.RED]}),
    (typing.Literal["a", "b"], "a"),
    (typing.Any, {"a": [1, None, 2.5]}),
    (object, ["a"]),
    (Node, Node(Path("a"), Node(Path("b")))),
    (Price, Price(Decimal("9.99"))),
    (Point, Point(1, 2.0)),
    (User, USER),
    (list[User], [USER]),
    (Order, Order(USER, [Point(1)])),
]
MSGSPEC = [BUILT_IN["json"], BUILT_IN["msgpack"]]
by_name = pytest.mark.parametrize("codec", MSGSPEC, ids=lambda codec: codec.name)


@pytest.mark.parametrize("codec", BUILT_IN.values(), ids=lambda codec: codec.name)
@pytest.mark.parametrize(("type_", "value"), VALUES, ids=lambda part: str(part)[:30])
def test_a_value_comes_back_equal_and_of_the_same_type(codec, type_, value):
    back = codec.decoder(type_)(codec.encode(value))

    assert back == value
    assert type(back) is type(value)


def test_integers_of_any_size_are_json_and_those_beyond_64_bits_are_refused_by_messagepack():
    json = BUILT_IN["json"]

    assert json.decoder(int)(json.encode(2**70)) == 2**70
    with pytest.raises(UsageError, match="cannot be encoded as msgpack"):
        BUILT_IN["msgpack"].encode(2**70)


@pytest.mark.parametrize(
    ("type_", "value", "place"),
    [
        (int, "1", "Expected `int`, got `str`"),
        (str, 1, "Expected `str`, got `int`"),
        (bool, 1, "Expected `bool`, got `int`"),
        (int, True, "Expected `int`, got `bool`"),
        (int, 1.5, "Expected `int`, got `float`"),
        (Path, 3, "Expected `Path` as `str`, got `int`"),
        (list[Point], [{"x": 1}, {"x": "2"}], r"`\$\[1\].x`"),
        (Order, {"user": None}, "missing required field `points`"),
        (Order, {"user": {"id": "7", "since": "2024-02-29T12:00:00Z"}, "points": []}, r"User.id: .*`\$.user`"),
        (Order, {"user": {"since": "2024-02-29T12:00:00Z"}, "points": []}, r"User.id: Field required .*`\$.user`"),
        (User, {"id": 1, "since": "yesterday"}, "User.since"),
    ],
)
@by_name
def test_nothing_is_cast_and_what_does_not_fit_names_its_place(codec, type_, value, place):
    with pytest.raises(Undecodable, match=place):
        codec.decoder(type_)(codec.encode(value))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xff", b"[" * 100_000])
@by_name
def test_bytes_that_are_no_document_are_undecodable(codec, body):
    with pytest.raises(Undecodable):
        codec.decoder(list[typing.Any])(body)


@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        (collections.abc.Callable, "nothing says how to decode Callable"),
        (dict[str, type], "nothing says how to decode type"),
        (typing.Iterable[int], "annotate it as list"),
        (int | User, "Type unions containing a custom type"),
    ],
)
@by_name
def test_a_type_that_can_never_be_decoded_is_refused_at_once(codec, type_, reason):
    with pytest.raises(UsageError, match=reason):
        codec.decoder(type_)


@by_name
def test_a_value_that_cannot_be_encoded_is_refused_by_type(codec):
    with pytest.raises(UsageError, match=f"cannot be encoded as {codec.name}: objects of type object"):
        codec.encode({"a": [object()]})


def test_pickle_is_refused_unless_it_is_allowed_and_the_error_says_how():
    with pytest.raises(ConfigError, match="allow_pickle=True"):
        choose("pickle", allow_pickle=False)

    assert choose("pickle", allow_pickle=True).name == "pickle"


def test_what_cannot_be_pickled_or_unpickled_is_said_in_our_own_errors():
    pickle = BUILT_IN["pickle"]

    with pytest.raises(UsageError, match="cannot be pickled"):
        pickle.encode(lambda: None)
    with pytest.raises(Undecodable, match="the pickle cannot be read"):
        pickle.decoder(typing.Any)(b"no pickle")


def test_an_unknown_codec_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown codec 'jsn' \(did you mean 'json'\?\); known: json, msgpack"):
        choose("jsn")


def test_a_codec_of_ones_own_is_taken_as_it_is():
    class Reversed:
        name = "reversed"

        def encode(self, value):
            return value.encode()[::-1]

        def decoder(self, type_):
            return lambda body: body[::-1].decode()

    codec = Reversed()

    assert isinstance(codec, Codec)
    assert choose(codec) is codec


def test_pydantic_and_attrs_are_not_imported_by_us():
    program = (
        "import sys, holdfast; holdfast.App('memory:'); sys.exit('pydantic' in sys.modules or 'attr' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
