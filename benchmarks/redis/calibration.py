"""What the server and Python can do at all: redis-benchmark, and redis-py's pipelines.

`ping` is one client that waits for each reply, `lpush` fifty clients with 50 commands in flight each; `xadd` is one
thread of Python that appends 500 bodies a round trip.
"""

import re
import subprocess
from urllib.parse import urlsplit

from redis import Redis

from benchmarks.job import BODY, Stopwatch, emit, request

BATCH = 500
PIPELINE = 50


def benchmark(port: int, test: str, requests: int, *flags: str) -> float:
    """Requests per second, as redis-benchmark says."""
    command = ["redis-benchmark", "-p", str(port), "-n", str(requests), "-q", "--csv", "-t", test, *flags]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rates = re.findall(r'^"[^"]*","([\d.]+)"', said, re.M)
    return float(rates[-1])


def xadd(url: str, jobs: int) -> float:
    redis = Redis.from_url(url)
    watch = Stopwatch()
    for _ in range(0, jobs, BATCH):
        pipe = redis.pipeline(transaction=False)
        for _ in range(BATCH):
            pipe.xadd("calibration", {"body": BODY})
        pipe.execute()
    rate = watch.rate(-(-jobs // BATCH) * BATCH)
    redis.delete("calibration")
    return rate


def main() -> None:
    asked = request()
    port = urlsplit(asked.url).port or 0
    said = subprocess.run(["redis-benchmark", "--version"], check=True, capture_output=True, text=True).stdout
    figures = {
        "ping": benchmark(port, "ping_mbulk", asked.jobs, "-c", "1"),
        "lpush": benchmark(port, "lpush", 10 * asked.jobs, "-P", str(PIPELINE), "-d", str(len(BODY))),
        "xadd": xadd(asked.url, 2 * asked.jobs),
    }
    emit(" ".join(said.split()[:2]), {"bytes": len(BODY), "pipeline": PIPELINE, "batch": BATCH}, figures)


main()
