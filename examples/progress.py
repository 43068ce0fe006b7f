"""Progress: a job says how far it is, a coroutine follows it, and never waits in vain."""

import asyncio
import time

from holdfast import CONTEXT, App, Context

app = App("memory:")


@app.task(result=60)
def copy(pages: int, *, ctx: Context = CONTEXT) -> str:
    for page in range(pages):
        time.sleep(0.02)
        ctx.progress((page + 1) / pages, f"page {page + 1}")
    return f"{pages} pages"


async def main() -> None:
    job = await copy.aenqueue(100)
    seen = []
    with app.worker():
        async for reported in job.aprogress(every=0.1):
            seen.append(reported.fraction)
        print("copied", await job.aresult())
    print("seen on the way:", len(seen) > 1, "and in order:", seen == sorted(seen))
    print("the last word:", reported.note)


if __name__ == "__main__":
    asyncio.run(main())
