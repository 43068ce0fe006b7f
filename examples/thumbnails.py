"""Many jobs, a few of which fail at first or for good; their results are collected as they come."""

import logging
import tempfile

from holdfast import CONTEXT, App, Bury, Context, JobFailed, Retry

logging.disable()  # the failures are on purpose
folder = tempfile.TemporaryDirectory()
app = App(f"sqlite:///{folder.name}/thumbnails.db")


@app.task(queue="images", retry=Retry(attempts=3, base=0.05), result=3600)
def thumbnail(name: str, *, ctx: Context = CONTEXT) -> str:
    if name.endswith(".txt"):
        raise Bury("not an image")
    if name.startswith("9") and ctx.attempt == 1:
        raise ConnectionError("the image server was busy")
    return f"{name} in attempt {ctx.attempt}"


def main() -> None:
    names = [f"{number}.png" for number in range(8, 11)] + ["9.jpg", "notes.txt"]
    with app, app.worker(concurrency=4):
        jobs = thumbnail.enqueue_many(thumbnail.call(name) for name in names)
        for name, job in zip(names, jobs, strict=True):
            try:
                print(job.result(timeout=30))
            except JobFailed as error:
                print(f"{name}: {error.error_type}, {job.refresh().state}")
    folder.cleanup()


if __name__ == "__main__":
    main()
