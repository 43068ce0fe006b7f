"""Arguments: what enqueue accepts reaches the handler equal, what it refuses names the parameter."""

import dataclasses
import enum
import typing
from collections.abc import Mapping, Sequence  # noqa: F401 - the annotations are texts
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import CONTEXT, App, Context, Delivery, UsageError


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Plain:
    when: datetime
    where: Path


@attrs.define
class Attrs:
    price: Decimal


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    secret: pydantic.SecretStr | None = None
    day: date | None = None


class Blind:
    pass


class Extra(typing.TypedDict):
    depth: int
    name: typing.NotRequired[str]


@pytest.fixture
def received(app, work):
    """Declare a function of this signature, enqueue, work, and return what its handler was called with."""

    def received(signature, *args, **kwargs):
        seen = []
        scope = {**globals(), "seen": seen}
        exec(f"def handler({signature}):\n    seen.append(locals())", scope)
        app.task(name=f"handler {signature}")(scope["handler"]).enqueue(*args, **kwargs)
        work()
        return seen[0]

    return received


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("datetime", datetime(2024, 1, 1, tzinfo=UTC)),
        ("timedelta", timedelta(seconds=1.5)),
        ("UUID", UUID(int=1)),
        ("Decimal", Decimal("0.10")),
        ("Colour", Colour.RED),
        ("Path", Path("a/b")),
        ("bytes", b"\x00\xff"),
        ("frozenset[int]", frozenset({1})),
        ("tuple[int, str]", (1, "a")),
        ("Plain", Plain(datetime(2024, 1, 1, tzinfo=UTC), Path("x"))),
        ("Attrs", Attrs(Decimal(1))),
        ("Struct", Struct(1)),
        ("Model", Model(day=date(2024, 1, 1))),
        ("Model | None", None),
        ("dict[UUID, list[Model]]", {UUID(int=2): [Model()]}),
        ("Sequence[int]", [1, 2]),
        ("Mapping[str, int]", {"a": 1}),
        ("float", 1),
        ("typing.Any", {"a": [1, "b", None]}),
    ],
)
def test_a_handler_receives_what_was_enqueued(received, annotation, value):
    assert received(f"x: {annotation}", value) == {"x": value}


@pytest.mark.parametrize(
    ("signature", "args", "kwargs", "seen"),
    [
        ("a, b=2, *, c=3", (1,), {}, {"a": 1, "b": 2, "c": 3}),
        ("a, b=2, *, c=3", (1, 5), {"c": 6}, {"a": 1, "b": 5, "c": 6}),
        ("a, b=2, *, c=3", (), {"b": 5, "a": 1}, {"a": 1, "b": 5, "c": 3}),
        ("*, c, d=None", (), {"c": 1}, {"c": 1, "d": None}),
        ("a, /, b=2", (1,), {"b": 3}, {"a": 1, "b": 3}),
        ("a=1, /, b=2", (), {"b": 3}, {"a": 1, "b": 3}),
        ("a, /, **rest: int", (1,), {"a": 2}, {"a": 1, "rest": {"a": 2}}),
        ("a, *rest: int", (1, 2, 3), {}, {"a": 1, "rest": (2, 3)}),
        ("a, *rest: int, c=0", (1,), {"c": 2}, {"a": 1, "rest": (), "c": 2}),
        ("a=1, *rest: int", (), {}, {"a": 1, "rest": ()}),
        ("**extra: typing.Unpack[Extra]", (), {"depth": 1}, {"extra": {"depth": 1}}),
        ("self, args, kwargs", (1, 2, 3), {}, {"self": 1, "args": 2, "kwargs": 3}),
        ("", (), {}, {}),
    ],
)
def test_every_way_of_passing_arguments_reaches_the_handler(received, signature, args, kwargs, seen):
    assert received(signature, *args, **kwargs) == seen


def test_omitted_arguments_stay_out_so_the_default_is_that_of_the_workers_code(app):
    @app.task
    def task(a: int, b: int = 2) -> None: ...

    assert task.call(1).message.body == b'{"a":1}'


def send(user_id: int, *, template: str = "plain", tags: list[str] | None = None, ctx: Context = CONTEXT) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "missing a required argument: 'user_id'; it takes (user_id: int, *, template: str = 'plain'"),
        ((1, "x"), {}, "too many positional arguments"),
        ((1,), {"tmplate": "x"}, "got an unexpected keyword argument 'tmplate' (did you mean 'template'?)"),
        ((), {"usr_id": 1}, "got an unexpected keyword argument 'usr_id' (did you mean 'user_id'?); it takes (user_id"),
        ((1,), {"ctx": CONTEXT}, "'ctx' is supplied by the worker and never sent; leave it out"),
        (("1",), {}, "parameter 'user_id': Expected `int`, got `str`"),
        ((1,), {"tags": ["a", 2]}, "parameter 'tags': Expected `str`, got `int` - at `$.tags[1]`"),
        ((1,), {"template": object()}, "parameter 'template': cannot be encoded as json: objects of type object"),
    ],
)
@pytest.mark.parametrize("way", ["enqueue", "call"])
def test_arguments_that_do_not_fit_are_refused_before_anything_is_stored(app, way, args, kwargs, reason):
    task = app.task(name="mail.send")(send)

    with pytest.raises(UsageError) as refused:
        getattr(task, way)(*args, **kwargs)

    assert str(refused.value).startswith("task 'mail.send': ")
    assert reason in str(refused.value)
    assert app.backend.queues() == {}


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        ("bytes", "abcd", "would receive bytes b'i\\xb7\\x1d' in place of str 'abcd'"),
        (
            "typing.Any",
            datetime(2024, 1, 1, tzinfo=UTC),
            "would receive str '2024-01-01T00:00:00Z' in place of datetime",
        ),
        ("typing.Any", Struct(1), "would receive dict {'x': 1} in place of Struct Struct(x=1); annotate it"),
        ("typing.Any", {"a": [{1}]}, "would receive list [1] in place of set {1}"),
        ("typing.Any", {1: 2}, "this dict does not come back equal"),
        ("Model", Model(secret="x"), "this Model does not come back equal"),
        ("float", 2**53 + 1, "in place of int 9007199254740993"),
    ],
)
def test_an_argument_that_would_silently_become_another_is_refused(app, annotation, value, reason):
    scope = dict(globals())
    exec(f"def handler(x: {annotation}): ...", scope)
    task = app.task(name="t")(scope["handler"])

    with pytest.raises(UsageError) as refused:
        task.enqueue(value)

    assert str(refused.value).startswith("task 't': parameter 'x': ")
    assert reason in str(refused.value)


def test_a_tuple_may_stand_for_a_list(received):
    assert received("x: Sequence[int], y: typing.Any", (1, 2), {"a": ((1,),)}) == {"x": [1, 2], "y": {"a": [[1]]}}


@dataclasses.dataclass(eq=False)
class Incomparable:
    x: int


def test_values_that_cannot_be_compared_are_not_refused(received):
    assert received("x: list[Incomparable]", [Incomparable(3)])["x"][0].x == 3


def test_messagepack_and_pickle_carry_arguments_too():
    app = App("memory:", allow_pickle=True)
    seen = []

    @app.task(codec="pickle")
    def pickled(a: Blind, *rest: int, b: float = 1.0) -> None:
        seen.append((type(a), rest, b))

    @app.task(codec="msgpack")
    def packed(a: bytes, b: float) -> None:
        seen.append((a, b))

    pickled.enqueue(Blind(), 1, 2)
    packed.enqueue(b"\xff", 0.5)
    with app:
        worker = app.worker(drain=True, concurrency=1)
        worker.start()
        worker.join(30)

    assert sorted(seen, key=len) == [(b"\xff", 0.5), (Blind, (1, 2), 1.0)]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.uuids()
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=8,
)


def alike(sent, received):
    if isinstance(sent, (list, tuple)):
        return isinstance(received, list) and len(sent) == len(received) and all(map(alike, sent, received))
    if isinstance(sent, dict):
        return sent.keys() == received.keys() and all(alike(sent[key], received[key]) for key in sent)
    return sent == received


@pytest.mark.slow
@given(anything)
def test_without_an_annotation_a_value_arrives_alike_or_is_refused(value):
    seen = []
    app = App("memory:")

    @app.task
    def task(x):
        seen.append(x)

    try:
        body = task.call(value).message.body
    except UsageError:
        return

    task.run(Delivery("q", "id", 1, 1, body), CONTEXT)
    assert alike(value, seen[0])
