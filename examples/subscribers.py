"""Subscribers: one event, three jobs; the one that fails is tried again alone, and the invoice follows the payment."""

from collections import Counter
from dataclasses import dataclass

from holdfast import CONTEXT, App, Context, Retry

app = App("memory:")
runs: Counter[str] = Counter()
AT_ONCE = Retry(attempts=5, base=0)


@dataclass
class OrderPlaced:
    number: int
    total: float


@app.on("order.placed", retry=AT_ONCE)
def charge(event: OrderPlaced, *, ctx: Context = CONTEXT) -> None:
    runs["charge"] += 1
    ctx.then(invoice.call(event.number, event.total))
    if runs["charge"] < 3:
        raise ConnectionError("the bank does not answer")


@app.on("order.placed")
def reserve(event: OrderPlaced) -> None:
    runs["reserve"] += 1


@app.on("order.placed")
async def thank(event: OrderPlaced) -> None:
    runs["thank"] += 1


@app.task(queue="events")
def invoice(number: int, total: float) -> None:
    runs[f"invoice {number} over {total:.2f}"] += 1


def main() -> None:
    app.publish("order.placed", OrderPlaced(7, 12.5))
    with app.worker(drain=True) as worker:
        worker.join()
    for name in sorted(runs):
        print(name, runs[name])


if __name__ == "__main__":
    import logging

    logging.disable()
    main()
