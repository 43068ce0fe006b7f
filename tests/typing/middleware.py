"""What type checkers see of middleware: a function of the wrong shape is an error where it is registered."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from holdfast import App, Bury, Context
from holdfast.message import Stored
from holdfast.middleware import Sending

app = App("memory:")


# -- around runs -----------------------------------------------------------------------------------------------


@app.middleware.run
def timed(ctx: Context) -> Iterator[None]:
    assert_type(ctx.kind, str)
    try:
        yield
    except LookupError as error:
        raise Bury(error) from error


@app.middleware.run
async def spanned(ctx: Context) -> AsyncIterator[None]:
    yield


@app.middleware.run(queues=["mail"], kinds={"send"})
def selected(ctx: Context) -> Iterator[None]:
    yield


@app.middleware.run(kinds=["send"])
async def selected_async(ctx: Context) -> AsyncIterator[None]:
    yield


def no_yield(ctx: Context) -> None: ...


def of_no_context(number: int) -> Iterator[None]:
    yield


def of_nothing() -> Iterator[None]:
    yield


def of_two(ctx: Context, number: int) -> Iterator[None]:
    yield


async def no_async_yield(ctx: Context) -> None: ...


def of_values(ctx: Context) -> Iterator[int]:
    yield 1


app.middleware.run(no_yield)  # type: ignore[arg-type]
app.middleware.run(of_no_context)  # type: ignore[arg-type]
app.middleware.run(of_nothing)  # type: ignore[arg-type]
app.middleware.run(of_two)  # type: ignore[arg-type]
app.middleware.run(no_async_yield)  # type: ignore[arg-type]
app.middleware.run(of_values)  # type: ignore[arg-type]
app.middleware.run(queue="mail")  # type: ignore[call-overload]
app.middleware.run(queues=1)  # type: ignore[call-overload]
app.middleware.run(kinds=["send"])(no_yield)  # type: ignore[arg-type]

# -- around sends ----------------------------------------------------------------------------------------------


@app.middleware.send
def stamped(sending: Sending) -> Iterator[None]:
    sending.add_headers({"trace": sending.queue})
    sending.messages = [message for message in sending.messages if message.key]
    yield
    for stored in sending.stored:
        assert_type(stored, Stored)


async def awaited(sending: Sending) -> AsyncIterator[None]:
    yield


app.middleware.send(awaited)  # type: ignore[arg-type]
app.middleware.send(timed)  # type: ignore[arg-type]
app.middleware.run(stamped)  # type: ignore[arg-type]


def renamed(sending: Sending) -> Iterator[None]:
    sending.queue = "other"  # type: ignore[misc]
    yield
