"""A worker process is killed with SIGKILL in the middle of its work; another one finishes it. Nothing is lost."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast import App, State

JOBS = 200
app = App(os.environ.get("HOLDFAST_URL") or "memory:")


@app.task(queue="numbers", result=3600)
def square(number: int) -> int:
    time.sleep(0.005)
    return number * number


def start_worker() -> "subprocess.Popen[bytes]":
    command = [str(Path(sys.executable).with_name("holdfast")), "worker", "crash:app", "--concurrency", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=Path(__file__).parent, **quiet)


def wait_for(done: int) -> None:
    while app.queue("numbers").stats().done < done:
        time.sleep(0.01)


def main() -> None:
    jobs = square.enqueue_many(square.call(number) for number in range(JOBS))
    victim = start_worker()
    wait_for(JOBS // 10)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    left = JOBS - app.queue("numbers").stats().done
    print("killed with work left:", left > 0)

    second = start_worker()
    total = sum(job.result(timeout=60) for job in jobs)
    second.terminate()
    second.wait()
    print("every job is done:", all(job.refresh().state is State.DONE for job in jobs))
    print("the results add up:", total == sum(number * number for number in range(JOBS)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOLDFAST_URL"] = f"sqlite:///{folder}/crash.db"
        import crash  # under its own name, as the worker imports it, and with the URL set

        crash.main()
        crash.app.close()
