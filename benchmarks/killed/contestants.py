"""Who takes part: each peer at its defaults, and tuned for recovery where it has settings for it; then ours."""

from dataclasses import dataclass

PEERS = "benchmarks.killed.peers"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A library with its settings. `one` has a child of the worker killed instead of all its processes; then no new
    worker is started, since the old one is to heal itself.
    """

    name: str
    module: str
    requirement: str = ""
    server: str = ""
    tuned: bool = False
    one: bool = False


def peer(name: str, module: str, requirement: str, server: str, *, tunable: bool = True) -> list[Contestant]:
    each = [Contestant(name, f"{PEERS}.{module}", requirement, server)]
    tuned = [Contestant(f"{name}, tuned", f"{PEERS}.{module}", requirement, server, tuned=True)]
    return each + tuned if tunable else each


HUEY = "huey[redis]==3.5.4"

CONTESTANTS: tuple[Contestant, ...] = (
    *peer("celery", "celery_", "celery[redis]==5.7.0", "valkey"),
    *peer("rq", "rq_", "rq==3.0.0", "valkey"),
    *peer("dramatiq", "dramatiq_", "dramatiq[redis]==2.2.1", "valkey"),
    *peer("huey redis", "huey_", HUEY, "valkey", tunable=False),
    *peer("huey sqlite", "huey_", HUEY, "", tunable=False),
    *peer("arq", "arq_", "arq==0.28.0", "valkey"),
    *peer("taskiq", "taskiq_", "taskiq==0.13.0 taskiq-redis==1.2.4", "valkey"),
    *peer("saq", "saq_", "saq[redis]==0.26.4 typing_extensions", "valkey"),
    *peer("streaq", "streaq_", "streaq==7.2.0", "valkey"),
    *peer("procrastinate", "procrastinate_", "procrastinate==3.10.0 psycopg[binary]", "postgres"),
    *peer("pgqueuer", "pgqueuer_", "pgqueuer[asyncpg]==1.6.0 typer<0.20", "postgres"),
    Contestant("holdfast sqlite, one process", "benchmarks.killed.ours", one=True),
    Contestant("holdfast sqlite, all", "benchmarks.killed.ours"),
    Contestant("holdfast redis, one process", "benchmarks.killed.ours", server="valkey", one=True),
    Contestant("holdfast redis, all", "benchmarks.killed.ours", server="valkey"),
)
