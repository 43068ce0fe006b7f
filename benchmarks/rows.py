"""What is measured: the programs, and the rows that set one figure against another.

A row without `ours` reports a peer alone; a row without a target is printed for comparison.
"""

from dataclasses import dataclass

from benchmarks.envs import Program


@dataclass(frozen=True, slots=True)
class Source:
    """One figure of one program."""

    program: Program
    figure: str


@dataclass(frozen=True, slots=True)
class Row:
    """Our figure over the peer's, taken within each round; `target` is the least ratio of medians to reach."""

    name: str
    peer: Source
    ours: Source | None = None
    target: float | None = None

    @property
    def programs(self) -> tuple[Program, ...]:
        """In the order they run: ours beside its peer."""
        return (self.ours.program, self.peer.program) if self.ours else (self.peer.program,)


QUEUE = Program("queue.Queue", "benchmarks.peers.queue_queue", jobs=400_000)
HUEY = Program(
    "huey",
    "benchmarks.peers.huey_sqlite",
    jobs=4_000,
    requirement="huey==3.5.4",
    variants=tuple(("--workers", str(count)) for count in (1, 2, 4, 8)),
)
PERSIST_QUEUE = Program(
    "persist-queue", "benchmarks.peers.persistqueue_sqlite", jobs=4_000, requirement="persist-queue==1.1.0"
)
LITEQUEUE = Program("litequeue", "benchmarks.peers.litequeue_", jobs=4_000, requirement="litequeue==0.9")

ROWS = (
    Row("memory-json", Source(QUEUE, "processed_json"), target=0.25),
    Row("memory-plain", Source(QUEUE, "processed"), target=0.25),
    Row("sqlite-huey", Source(HUEY, "processed"), target=10.0),
    Row("sqlite-huey-enqueue", Source(HUEY, "enqueued")),
    Row("sqlite-persist-queue", Source(PERSIST_QUEUE, "processed")),
    Row("sqlite-litequeue", Source(LITEQUEUE, "processed")),
)
