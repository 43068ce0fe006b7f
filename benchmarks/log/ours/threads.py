"""64 threads, each of which appends one message, waits until it is durable, and appends the next."""

import threading
import time

from benchmarks.job import Stopwatch, emit, request
from benchmarks.log.messages import BODY, quantile
from benchmarks.log.ours.places import LOG, VERSION, log_in
from holdfast.logged import Columns

THREADS = 64


def main() -> None:
    asked = request()
    logs, columns = log_in(asked), Columns([BODY])
    each = asked.jobs // THREADS
    taken: list[list[float]] = [[] for _ in range(THREADS)]

    def produce(times: list[float]) -> None:
        for _ in range(each):
            begin = time.perf_counter()
            logs.append(LOG, 0, columns)
            times.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=produce, args=(times,)) for times in taken]
    watch = Stopwatch()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = watch.rate(each * THREADS)
    logs.close()
    everything = [one for times in taken for one in times]
    figures = {"rate": rate, "p50_ms": quantile(everything, 0.5) * 1e3, "p99_ms": quantile(everything, 0.99) * 1e3}
    emit(VERSION, {"threads": THREADS}, figures)


main()
