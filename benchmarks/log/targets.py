"""What is measured: each line a figure of one program, at what sync mode, and what it should reach.

`least` and `most` are bounds for the median of the rounds; a line without is for comparison.
"""

from dataclasses import dataclass

from benchmarks.envs import Program

SYNCED = "synced before it returns"


def _ours(name: str, jobs: int) -> Program:
    return Program(f"log {name}", f"benchmarks.log.ours.{name}", jobs=jobs)


def _peer(name: str, module: str, jobs: int, requirement: str = "") -> Program:
    return Program(name, f"benchmarks.log.peers.{module}", jobs=jobs, requirement=requirement)


SINGLE = _ours("single", 2_000)
BATCHES = _ours("batches", 1_000_000)
THREADS = _ours("threads", 64_000)
AWAITING = _ours("awaiting", 128_000)
ACROSS = _ours("across", 200)
GROUPS = _ours("groups", 100_000)
OPENING = _ours("opening", 10)
GROWTH = _ours("growth", 5_000_000)
SQLITE = _peer("SQLite", "sqlite", 300_000)
LMDB = _peer("LMDB", "lmdb_", 300_000, "lmdb==3.0.0")
PERSIST_QUEUE = _peer("persist-queue", "persistqueue_", 50_000, "persist-queue==1.1.0")


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. `sync` says when it is on the disk."""

    name: str
    program: Program
    figure: str
    unit: str
    sync: str
    least: float | None = None
    most: float | None = None


LINES: tuple[Line, ...] = (
    # one message an append, one append after the other
    Line("single append p50", SINGLE, "log_p50_us", "µs", SYNCED),
    Line("single append p50, over a raw write", SINGLE, "over_raw", "×", "both fdatasync each time", most=1.3),
    Line("single append p50, over SQLite", SINGLE, "over_sqlite", "×", "both synced each time", most=1.0),
    Line("raw write p50", SINGLE, "raw_p50_us", "µs", "fdatasync each time"),
    Line("SQLite, single p50", SINGLE, "sqlite_p50_us", "µs", "synchronous=FULL"),
    Line("LMDB, single mean", LMDB, "single_us", "µs", "sync=True"),
    Line("persist-queue files, single", PERSIST_QUEUE, "files", "messages/s", "fsync every 100 messages"),
    # 1 000 messages of 100 bytes an append
    Line("1 000 an append", BATCHES, "always", "messages/s", SYNCED, least=1_500_000),
    Line("1 000 an append, interval", BATCHES, "interval", "messages/s", "synced every 0.1 s or 1 MiB"),
    Line("1 000 an append, os", BATCHES, "os", "messages/s", "synced when a segment ends"),
    Line("SQLite FULL, 1 000 a commit", SQLITE, "full", "messages/s", "synchronous=FULL, each commit"),
    Line("SQLite NORMAL, 1 000 a commit", SQLITE, "normal", "messages/s", "synchronous=NORMAL, at checkpoints"),
    Line("LMDB, 1 000 a commit", LMDB, "batches", "messages/s", "sync=True, each commit"),
    Line("persist-queue SQLite, 1 000 a commit", PERSIST_QUEUE, "table", "messages/s", "synchronous=FULL, each commit"),
    # many at once, each waiting for its own
    Line("64 awaiting tasks", AWAITING, "rate", "messages/s", SYNCED, least=60_000),
    Line("64 awaiting tasks, p99", AWAITING, "p99_ms", "ms", SYNCED, most=5.0),
    Line("64 threads", THREADS, "rate", "messages/s", SYNCED, least=20_000),
    Line("64 threads, p99", THREADS, "p99_ms", "ms", SYNCED, most=10.0),
    Line("SQLite, 64 threads", SQLITE, "threads_rate", "messages/s", "synchronous=FULL, each commit"),
    Line("SQLite, 64 threads, p99", SQLITE, "threads_p99_ms", "ms", "synchronous=FULL, each commit"),
    # reading
    Line("read, checksums verified", BATCHES, "read", "messages/s", "–", least=4_000_000),
    Line("SQLite, read", SQLITE, "read", "messages/s", "–"),
    Line("LMDB, read", LMDB, "read", "messages/s", "–"),
    Line("append here, poll there, p50", ACROSS, "p50_ms", "ms", SYNCED, most=5.0),
    Line("append here, poll there, p99", ACROSS, "p99_ms", "ms", SYNCED),
    Line("10 groups, writes beside commits", GROUPS, "extra_writes", "writes", "–", most=0),
    # the rest
    Line("open 1 GB of sealed segments", OPENING, "sealed_ms", "ms", "–", most=50),
    Line("recover a tail of 250 MiB, warm", OPENING, "tail_ms", "ms", "–", most=500),
    Line("memory after 5 M messages, over 0.5 M", GROWTH, "growth_percent", "%", "–", most=10),
)
