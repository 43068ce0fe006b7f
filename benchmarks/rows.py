"""What is measured: the rows, each a claim about figures of programs, with what it should reach.

A row without `ours` reports a peer alone; a row without a target, and a limit without `most`, is for comparison.
"""

from dataclasses import dataclass

from benchmarks import programs
from benchmarks.envs import Program


@dataclass(frozen=True, slots=True)
class Source:
    """One figure of one program."""

    program: Program
    figure: str = "processed"


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


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure that stands alone; `most` is what its median should stay under."""

    name: str
    source: Source
    unit: str
    most: float | None = None

    @property
    def programs(self) -> tuple[Program, ...]:
        return (self.source.program,)


def within(name: str, program: Program, ours: str, peer: str, target: float | None = None) -> Row:
    """A row between two figures of one program."""
    return Row(name, Source(program, peer), Source(program, ours), target)


def flat(program: Program, store: str) -> list[Row]:
    names = {"waiting": "1m-waiting", "unhandled": "1m-unhandled", "scheduled": "1m-scheduled"}
    return [within(f"{store}-{name}", program, scene, f"{scene}_short", 0.9) for scene, name in names.items()]


ROWS: tuple[Row, ...] = (
    # one worker process
    Row("memory-bare", Source(programs.BARE_MEMORY), Source(programs.MEMORY), 0.35),
    Row("memory-json", Source(programs.QUEUE, "processed_json"), Source(programs.MEMORY), 0.25),
    Row("memory-plain", Source(programs.QUEUE), Source(programs.MEMORY)),
    Row("memory-async", Source(programs.BARE_MEMORY), Source(programs.MEMORY_ASYNC)),
    Row("sqlite-bare", Source(programs.BARE_SQLITE), Source(programs.SQLITE), 0.35),
    Row("sqlite-async", Source(programs.BARE_SQLITE), Source(programs.SQLITE_ASYNC)),
    Row("sqlite-huey", Source(programs.HUEY), Source(programs.SQLITE), 10.0),
    Row("sqlite-persist-queue", Source(programs.PERSIST_QUEUE), Source(programs.SQLITE)),
    Row("sqlite-litequeue", Source(programs.LITEQUEUE), Source(programs.SQLITE)),
    # enqueue
    Row("sqlite-huey-enqueue", Source(programs.HUEY, "enqueued"), Source(programs.ENQUEUE, "one_by_one")),
    within("sqlite-awaiting", programs.ENQUEUE, "awaiting", "one_by_one", 20.0),
    within("sqlite-threads", programs.ENQUEUE, "threads", "one_by_one", 5.0),
    within("sqlite-bulk", programs.ENQUEUE, "bulk", "one_by_one"),
    Row("sqlite-bulk-bare", Source(programs.BARE_SQLITE, "enqueued"), Source(programs.ENQUEUE, "bulk")),
    # flat
    *flat(programs.FLAT_MEMORY, "memory"),
    *flat(programs.FLAT_SQLITE, "sqlite"),
)

LIMITS: tuple[Limit, ...] = (
    Limit("memory-idle", Source(programs.IDLE_MEMORY, "idle_percent"), "% of a core", 1.0),
    Limit("sqlite-idle", Source(programs.IDLE_SQLITE, "idle_percent"), "% of a core", 1.0),
    Limit("sqlite-idle-statements", Source(programs.IDLE_SQLITE, "idle_statements"), "/s", 0.2),
    Limit("memory-start-p50", Source(programs.IDLE_MEMORY, "within_p50_ms"), "ms"),
    Limit("memory-start-p99", Source(programs.IDLE_MEMORY, "within_p99_ms"), "ms"),
    Limit("sqlite-start-p50", Source(programs.IDLE_SQLITE, "within_p50_ms"), "ms"),
    Limit("sqlite-start-p99", Source(programs.IDLE_SQLITE, "within_p99_ms"), "ms"),
    Limit("sqlite-start-across-p50", Source(programs.IDLE_SQLITE, "across_p50_ms"), "ms"),
    Limit("sqlite-start-across-p99", Source(programs.IDLE_SQLITE, "across_p99_ms"), "ms"),
    Limit("memory-growth", Source(programs.GROWTH_MEMORY, "growth_percent"), "%", 10.0),
    Limit("memory-growth-held", Source(programs.GROWTH_MEMORY, "held"), "jobs"),
    Limit("import", Source(programs.STARTUP, "import_over_bare_ms"), "ms more", 80.0),
    Limit("import-open", Source(programs.STARTUP, "app_over_bare_ms"), "ms more"),
    Limit("help", Source(programs.STARTUP, "help_over_bare_ms"), "ms more", 120.0),
)
