"""Everything awaited: a coroutine task finds pages and sends each on once; their titles go through a queue of bytes."""

import asyncio

from holdfast import App, Task, Unique

SITE = {
    "/": ("Home", ["/shop", "/about"]),
    "/shop": ("Shop", ["/", "/shop/pears", "/shop/plums"]),
    "/shop/pears": ("Pears", ["/shop"]),
    "/shop/plums": ("Plums", ["/shop", "/shop/pears"]),
    "/about": ("About", ["/"]),
}
app = App("memory:")


@app.task
async def visit(path: str) -> None:
    title, links = SITE[path]
    await asyncio.sleep(0.01)  # as if it came from afar
    await app.aio.enqueue_many(once(link).call(link) for link in links)
    await app.aio.queue("titles").send(title.encode(), key=path)


def once(path: str) -> Task[[str], None]:
    """Visit this page, unless that was done within the hour."""
    return visit.using(unique=Unique(path, within=3600))


async def main() -> None:
    async with app:
        await once("/").aenqueue("/")
        with app.worker(drain=True) as worker:
            await asyncio.to_thread(worker.join)
        titles = app.aio.queue("titles")
        found = []
        while message := await titles.pop(timeout=0):
            found.append(message.body.decode())
        print(len(found), "pages, each once:", ", ".join(sorted(found)))
        print("asked to visit:", 1 + sum(len(links) for _, links in SITE.values()), "times")


if __name__ == "__main__":
    asyncio.run(main())
