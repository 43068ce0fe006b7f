"""The programs that are measured: peers, bare loops, and our own."""

from benchmarks.envs import Program

# -- peers ---------------------------------------------------------------------------------------------------------

QUEUE = Program("queue.Queue", "benchmarks.peers.queue_queue", jobs=400_000)
HUEY = Program(
    "huey",
    "benchmarks.peers.huey_sqlite",
    jobs=2_000,
    requirement="huey==3.5.4",
    variants=tuple(("--workers", str(count)) for count in (1, 2, 4, 8)),
)
PERSIST_QUEUE = Program(
    "persist-queue", "benchmarks.peers.persistqueue_sqlite", jobs=2_000, requirement="persist-queue==1.1.0"
)
LITEQUEUE = Program("litequeue", "benchmarks.peers.litequeue_", jobs=2_000, requirement="litequeue==0.9")

# -- bare loops ----------------------------------------------------------------------------------------------------

BARE_MEMORY = Program("bare memory", "benchmarks.bare.memory", jobs=100_000)
BARE_SQLITE = Program("bare sqlite", "benchmarks.bare.sqlite", jobs=50_000)

# -- ours ----------------------------------------------------------------------------------------------------------


def _work(name: str, *options: str, jobs: int) -> Program:
    variants = tuple(("--workers", str(count)) for count in (1, 4, 8))
    return Program(name, "benchmarks.ours.work", jobs=jobs, options=options, variants=variants)


def _on(store: str, name: str, module: str, jobs: int) -> Program:
    options = ("--store", store)
    return Program(f"{name} {store}", f"benchmarks.ours.{module}", jobs=jobs, options=options, own_rounds=True)


MEMORY = _work("memory", "--store", "memory", jobs=100_000)
MEMORY_ASYNC = _work("memory async", "--store", "memory", "--awaited", jobs=50_000)
SQLITE = _work("sqlite", "--store", "sqlite", jobs=50_000)
SQLITE_ASYNC = _work("sqlite async", "--store", "sqlite", "--awaited", jobs=25_000)
ENQUEUE = Program("enqueue sqlite", "benchmarks.ours.enqueue", jobs=3_000)
FLAT_MEMORY = _on("memory", "flat", "flat", jobs=1_000_000)
FLAT_SQLITE = _on("sqlite", "flat", "flat", jobs=1_000_000)
IDLE_MEMORY = _on("memory", "idle", "idle", jobs=200)
IDLE_SQLITE = _on("sqlite", "idle", "idle", jobs=200)
GROWTH_MEMORY = _on("memory", "growth", "growth", jobs=1_000_000)
STARTUP = Program("startup", "benchmarks.ours.startup", jobs=20)
