"""How a process that does not own the queues does what operators do: by asking the one that does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

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
            return _ask(self.directory, verb, tuple(given.arguments.values())[1:], owned)

    return call


def _ask(directory: Path, verb: str, arguments: tuple[Any, ...], owned: Owned) -> Any:
    try:
        return ask(directory, verb, arguments)
    except OSError as error:
        raise owned from error
