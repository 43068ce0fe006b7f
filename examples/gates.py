"""A provider is down: charges wait behind a gate, unburned, while urgent mail has a lane of its own."""

import threading

from holdfast import App, Lane
from holdfast.events import GateClosed, GateOpened

app = App("memory:")
is_up = threading.Event()
noticed = threading.Event()


@app.task(result=60)
def charge(order: int) -> str:
    return f"order {order} is paid"


@app.task(queue="reports")
def report(done: float) -> str:
    is_up.wait(done)
    return "report"


@app.task(queue="urgent", result=60)
def reset_password(user: int) -> str:
    return f"mail to {user}"


def main() -> None:
    app.gate(charge, is_up.is_set)
    app.listen(GateClosed, lambda event: noticed.set())
    app.listen(GateOpened, lambda event: print("the gate is open"))
    charges = charge.enqueue_many([charge.call(order) for order in (1, 2)])
    reports = report.enqueue_many([report.call(30.0) for _ in range(4)])  # more than there are shared slots

    with app.worker(concurrency=2, lanes=[Lane(slots=1, queues=["urgent"])]):
        print(reset_password.enqueue(7).result(timeout=20))
        noticed.wait(20)
        view = charges[0].refresh().view
        print(f"charge: {view.state}, {view.attempts} attempts")

        is_up.set()
        for job in charges:
            print(job.result(timeout=20))
        print(len([job.result(timeout=20) for job in reports]), "reports")


if __name__ == "__main__":
    main()
