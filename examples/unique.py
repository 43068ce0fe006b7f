"""Unique jobs: ten edits of a page become one job, after it has been quiet, and a report is made once an hour."""

import threading

from holdfast import App, Unique

app = App("memory:")
published = threading.Event()


@app.task
def publish(page: str, text: str) -> None:
    print(f"published {page}: {text}")
    published.set()


@app.task
def report() -> None:
    print("report")


def edit(page: str, text: str) -> str:
    """Publish a page half a second after the last edit of it, once."""
    debounced = publish.using(delay=0.5, unique=Unique(page, on_conflict="debounce"))
    return debounced.enqueue(page, text).id


def main() -> None:
    jobs = {edit("news", f"version {number}") for number in range(1, 11)}
    print("edits: 10, jobs:", len(jobs))
    with app.worker():
        published.wait(30)

    hourly = report.using(unique=Unique("report", within=3600))
    for _ in range(3):
        job = hourly.enqueue()
        with app.worker(drain=True) as worker:
            worker.join()
        print("new" if not job.stored.duplicate else "made already:", job.refresh().state)


if __name__ == "__main__":
    main()
