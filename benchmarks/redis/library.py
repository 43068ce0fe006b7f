"""What a library brings: how it sends, how its worker is started, and what of its jobs the server still has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.redis.senders import Sender
from benchmarks.redis.wire import Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """`commands` are the command lines that start so many worker processes, programs of the library's environment.

    `left` is how many jobs wait or run, as the library keeps them. `settings` are those that matter, `environment` is
    for settings that only the environment of a worker can carry. `tidy` removes histories that are over, where a worker
    would do it within a minute only.
    """

    version: str
    settings: Mapping[str, object]
    sender: Sender
    commands: Callable[[int], Sequence[Sequence[str]]]
    left: Callable[[Wire], int]
    environment: Mapping[str, str] = field(default_factory=dict)
    tidy: Callable[[], object] = lambda: None


def lengths(*commands: tuple[str, ...]) -> Callable[[Wire], int]:
    """A `left` that adds up the replies to these commands."""
    return lambda wire: sum(wire.ask(*command) for command in commands)
