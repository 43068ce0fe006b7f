"""How a process that does not own the queues does what operators do: by asking the one that does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from holdfast.capabilities import Results
from holdfast.delivery import Outcome
from holdfast.errors import BodyTooLarge
from holdfast.stores.disk.queue import wire
from holdfast.stores.disk.queue.owner import Owned
from holdfast.stores.disk.queue.sockets import ask
from holdfast.stores.disk.queue.wire import VERBS

Store = TypeVar("Store", bound=type)


def forwards(store: Store) -> Store:
    """Let the verbs that others may ask for go to the owner, where another process is that. Decorates a class."""
    for verb in VERBS:
        setattr(store, verb, _forwarded(verb, getattr(store, verb)))
    return store


def _forwarded(verb: str, own: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(own)

    @wraps(own)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return own(self, *args, **options)
        except Owned as owned:
            given = signature.bind(self, *args, **options)
            given.apply_defaults()
            return ask_owner(self.directory, verb, tuple(given.arguments.values())[1:], owned)

    return call


def ask_owner(directory: Path, verb: str, arguments: tuple[Any, ...], owned: Owned) -> Any:
    """Return what the owner of the queues answers; ``owned`` is raised when it does not."""
    try:
        return ask(directory, verb, arguments)
    except OSError as error:
        raise owned from error
    except BodyTooLarge:
        if verb != "outcomes" or len(arguments[1]) < 2:
            raise
    queue, job_ids = arguments
    middle = len(job_ids) // 2
    halves = [ask_owner(directory, verb, (queue, half), owned) for half in (job_ids[:middle], job_ids[middle:])]
    return halves[0] | halves[1]


def few_outcomes(store: Results, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
    """Return the outcomes of these jobs for one who asks; ``BodyTooLarge`` when it is to ask for fewer."""
    found, size = dict[str, Outcome](), 0
    for job_id in job_ids:
        found |= store.outcomes(queue, [job_id])
        size += len(found[job_id].value or b"") if job_id in found else 0
        if size > wire.RESULTS_MOST and len(job_ids) > 1:
            raise wire.too_large(size)
    return found
