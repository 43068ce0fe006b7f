"""What type checkers see of dependencies: a parameter has the type of what its provider makes, whatever its form."""

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self, assert_type

from holdfast import CONTEXT, App, Context, Depends, Job

app = App("memory:")


class Session:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ping(self) -> int:
        return 1


# -- every form of a provider ----------------------------------------------------------------------------------


def made() -> Session:
    return Session()


def iterated() -> Iterator[Session]:
    yield Session()


def generated(*, ctx: Context = CONTEXT) -> Generator[Session, None, None]:
    yield Session()


@contextmanager
def managed(first: Session = Depends(made)) -> Iterator[Session]:
    yield first


async def awaited() -> Session:
    return Session()


async def aiterated() -> AsyncIterator[Session]:
    yield Session()


async def agenerated() -> AsyncGenerator[Session, None]:
    yield Session()


@asynccontextmanager
async def amanaged() -> AsyncIterator[Session]:
    yield Session()


def lock() -> threading.Lock:
    return threading.Lock()


assert_type(Depends(made), Session)
assert_type(Depends(Session), Session)
assert_type(Depends(iterated), Session)
assert_type(Depends(generated), Session)
assert_type(Depends(managed), Session)
assert_type(Depends(awaited, scope="job"), Session)
assert_type(Depends(aiterated, scope="worker"), Session)
assert_type(Depends(agenerated), Session)
assert_type(Depends(amanaged), Session)
assert_type(Depends(lambda: 1, scope="app"), int)
guard: threading.Lock = Depends(lock)

# -- handlers --------------------------------------------------------------------------------------------------


@app.task
def handler(x: int, *, db: Session = Depends(made), more: Session = Depends(managed)) -> int:
    return db.ping() + more.ping() + x


@app.task
async def later(x: int, *, db: Session = Depends(awaited), it: Session = Depends(amanaged, scope="worker")) -> None:
    db.ping()


assert_type(handler.enqueue(1), Job[int])
assert_type(handler(1), int)
assert_type(handler(1, db=Session()), int)
handler(1, db=7)  # type: ignore[arg-type]
handler.enqueue("1")  # type: ignore[arg-type]


def of_wrong_types(
    *,
    made_one: int = Depends(made),  # type: ignore[assignment]
    iterated_one: int = Depends(iterated),  # type: ignore[assignment]
    managed_one: int = Depends(managed),  # type: ignore[assignment]
    awaited_one: int = Depends(awaited),  # type: ignore[assignment]
    aiterated_one: int = Depends(aiterated),  # type: ignore[assignment]
    amanaged_one: int = Depends(amanaged),  # type: ignore[assignment]
    optional: Session = Depends(lambda: None),  # type: ignore[assignment]
) -> None: ...


Depends(7)  # type: ignore[call-overload]
Depends(made())  # type: ignore[call-overload]
Depends(made, scope="request")  # type: ignore[call-overload]
Depends(made, "job")  # type: ignore[call-overload]

# -- replaced in tests -----------------------------------------------------------------------------------------

app.dependencies.override(made, Session).undo()
with app.dependencies.override(made, iterated):
    pass
app.dependencies.override(made)  # type: ignore[call-arg]
app.dependencies.override(made, 7)  # type: ignore[arg-type]
