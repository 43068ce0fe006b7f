"""Who is measured: the peers in environments of their own, ours, its bare loop, and what the machine can do at all."""

from dataclasses import replace

from benchmarks.envs import Program

SERVER = "redis"
HIREDIS, UVLOOP, ORJSON = "hiredis==3.3.0", "uvloop==0.22.1", "orjson==3.11.4"
SEEK = ("--phases", "process")
MEMORY = ("--phases", "memory", "--keep", "10")
MEMORY_JOBS = 1000
TRIALS = 2
FEWEST = 200
"""A hundred senders at once have something to do each, then."""

Variants = tuple[tuple[str, ...], ...]


def at_once(*numbers: int) -> Variants:
    return tuple(("--at-once", str(number)) for number in numbers)


def peer(name: str, requirement: str, jobs: int, variants: Variants = ((),)) -> Program:
    """`requirement` has the library with what its documentation names as faster."""
    return Program(
        name,
        f"benchmarks.redis.peers.{name}_",
        jobs=jobs,
        requirement=requirement,
        variants=variants,
        fewest=FEWEST,
        server=SERVER,
        trying=SEEK,
        trials=TRIALS,
        optional=True,
    )


PEERS = (
    peer(
        "celery",
        f"celery[redis]==5.7.0 {HIREDIS}",
        600,
        (("--way", "solo"), ("--way", "prefork"), ("--way", "threads", "--at-once", "4")),
    ),
    peer("rq", f"rq==3.0.0 {HIREDIS}", 300),
    peer("dramatiq", f"dramatiq[redis]==2.2.1 {HIREDIS}", 1_500, at_once(1, 4, 8)),
    peer("huey", f"huey[redis]==3.5.4 {HIREDIS}", 2_000, (*at_once(1, 4), ("--way", "process"))),
    peer("arq", f"arq==0.28.0 {HIREDIS} {UVLOOP}", 1_000, at_once(10, 100, 1000)),
    peer(
        "taskiq",
        f"taskiq==0.13.0 taskiq-redis==1.2.4 {HIREDIS} {UVLOOP} {ORJSON}",
        1_500,
        tuple(("--way", way, *each) for way in ("stream", "list") for each in at_once(100, 1000)),
    ),
    peer("saq", f"saq[redis,hiredis]==0.26.4 typing_extensions {UVLOOP} {ORJSON}", 1_000, at_once(10, 100)),
    peer("streaq", f"streaq==7.2.0 {UVLOOP}", 800, at_once(16, 100)),
)


def ours(name: str, module: str, jobs: int, **more: object) -> Program:
    program = Program(name, f"benchmarks.{module}", jobs=jobs, server=SERVER)
    return replace(program, **more)  # type: ignore[arg-type] # fields by name


STORE = ("--store", "redis")
OURS = ours(
    "holdfast",
    "redis.ours",
    2_000,
    fewest=FEWEST,
    options=("--times", "30"),
    variants=at_once(1, 4, 10),
    trying=SEEK,
    trials=TRIALS,
)
WORK = ours(
    "worker",
    "ours.work",
    100_000,
    options=STORE,
    variants=tuple(("--workers", str(n)) for n in (1, 4, 8)),
    trials=TRIALS,
)
BARE = ours("bare redis", "bare.redis", 100_000)
CALIBRATION = ours("calibration", "redis.calibration", 20_000)
FLAT = ours("flat", "ours.flat", 1_000_000, options=STORE, own_rounds=True)
IDLE = ours("idle", "ours.idle", 200, options=STORE, own_rounds=True)
HISTORY = ours("history", "redis.history", 1_000_000, once=True)


def kept(program: Program) -> Program:
    """The program that measures the server's memory for this library's jobs."""
    return replace(
        program,
        name=f"{program.name}, memory",
        jobs=MEMORY_JOBS,
        options=MEMORY,
        variants=((),),
        once=True,
        optional=True,
    )


MEMORIES = tuple(map(kept, (OURS, *PEERS)))
PROGRAMS = (CALIBRATION, BARE, WORK, OURS, *PEERS, *MEMORIES, FLAT, IDLE, HISTORY)
