"""What type checkers see of tasks: right use passes, and each ignored line is an error they must report.

``warn_unused_ignores`` turns a line that no longer is an error into one, so both directions are checked.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from holdfast import CONTEXT, App, Call, Context, Delivery, Job, Message, Retry, State, Stored, Task, Unique
from holdfast.capabilities import Schedule
from holdfast.config import QueueSettings
from holdfast.events import Done

app = App("memory:")


@app.task(queue="mail", retry=Retry(attempts=5, base=1.0), timeout=30, result=timedelta(hours=1), priority=5)
def send(user_id: int, *, template: str = "plain", ctx: Context = CONTEXT) -> str:
    return f"{user_id} {template} {ctx.id}"


@app.task
def bare(user_id: int) -> list[int]:
    return [user_id]


@app.task(result=60)
async def fetch(url: str, times: int = 1) -> bytes:
    return url.encode() * times


@app.task
async def ping() -> None: ...


@app.task(isolate=True, max_memory=500_000_000)
def resize(path: str) -> int:
    return len(path)


@app.on("image.added", isolate=True, max_memory=None)
def on_image(path: str) -> None: ...


assert_type(resize.enqueue("x"), Job[int])
app.worker(isolated=2)
app.worker(isolated="2")  # type: ignore[arg-type]
app.task(isolate="yes")  # type: ignore[call-overload]
app.task(isolate=True, max_memory="500M")  # type: ignore[call-overload]

# -- a task is called as the function it was -------------------------------------------------------------------

assert_type(send(42), str)
assert_type(bare(1), list[int])
send("42")  # type: ignore[arg-type]

# -- arguments are checked where they are enqueued -------------------------------------------------------------

assert_type(send.enqueue(42, template="rich"), Job[str])
assert_type(fetch.enqueue("x", 2), Job[bytes])
assert_type(bare.enqueue(user_id=1), Job[list[int]])
assert_type(ping.enqueue(), Job[None])

send.enqueue("42")  # type: ignore[arg-type]
send.enqueue()  # type: ignore[call-arg]
send.enqueue(42, "rich")  # type: ignore[call-arg]
send.enqueue(42, tmplate="rich")  # type: ignore[call-arg]
send.enqueue(42, template=7)  # type: ignore[arg-type]
send.enqueue(42, delay=5)  # type: ignore[call-arg]
fetch.enqueue(b"x")  # type: ignore[arg-type]
ping.enqueue(1)  # type: ignore[call-arg]

# -- results have the type of the function, for async def what it awaits to ------------------------------------

assert_type(send.enqueue(42).result(timeout=5), str)
assert_type(fetch.enqueue("x").result(timedelta(seconds=5)), bytes)
assert_type(bare.enqueue(1).result(), list[int])
number: int = send.enqueue(42).result()  # type: ignore[assignment]


async def awaited() -> None:
    assert_type(await send.aenqueue(42), Job[str])
    job = await fetch.aenqueue("x", times=2)
    assert_type(await job.aresult(timeout=5), bytes)
    assert_type(await send.aenqueue_many([send.call(1)]), list[Job[str]])
    assert_type(await app.aio.enqueue_many([send.call(1)]), list[Job[str]])
    assert_type(await app.aio.publish("user.created", 42, priority=5), Job[None])
    assert_type(await app.aio.queue("images").pop(timeout=1), Message | None)
    async with app.aio.queue("images").lease(limit=5) as deliveries:
        assert_type([delivery.body for delivery in deliveries], list[bytes])
    async for awaited_report in job.aprogress():
        assert_type(awaited_report.fraction, float)
    await send.aenqueue("42")  # type: ignore[arg-type]
    await fetch.aenqueue(uri="x")  # type: ignore[call-arg]
    assert_type(await fetch("x"), bytes)
    async with app as opened:
        assert_type(opened, App)


# -- a configured copy has the same arguments, and options of its own ------------------------------------------

assert_type(send.using(delay=180, priority=5, key="user-42").enqueue(42), Job[str])
assert_type(fetch.using(queue="slow", run_at=datetime.now(UTC), expires_in=timedelta(days=1)).call("x"), Call[bytes])
assert_type(send.using(delay=1)(42), str)
send.using(delay=180).enqueue("42")  # type: ignore[arg-type]
send.using(dealy=180)  # type: ignore[call-arg]
send.using(priority="high")  # type: ignore[arg-type]
send.using(template="rich")  # type: ignore[call-arg]

# -- unique jobs -----------------------------------------------------------------------------------------------

assert_type(send.using(unique=Unique("user-42", until="started", within=timedelta(hours=1))).enqueue(42), Job[str])
assert_type(app.queue("raw").send(b"", unique=Unique("x", on_conflict="debounce", within=60)), Stored)
send.using(unique=None)
send.using(unique="user-42")  # type: ignore[arg-type]
app.queue("raw").send(b"", unique="x")  # type: ignore[arg-type]
app.queue("raw").send_many([b""], unique={"key": "x"})  # type: ignore[arg-type]
Unique(42)  # type: ignore[arg-type]
Unique("x", "started")  # type: ignore[call-arg]
Unique("x", until="never")  # type: ignore[arg-type]
Unique("x", within="1 h")  # type: ignore[arg-type]
Unique("x", on_conflict="drop")  # type: ignore[arg-type]
Unique("x").key = "y"  # type: ignore[misc]
assert_type(app.queue("raw").replay("id").moved, tuple[str, ...])

# -- many at once ----------------------------------------------------------------------------------------------

assert_type(send.enqueue_many([send.call(1), send.using(priority=5).call(2, template="x")]), list[Job[str]])
assert_type(app.enqueue_many([send.call(1), send.call(2)]), list[Job[str]])
mixed: list[Call[Any]] = [send.call(1), fetch.call("x")]
assert_type(app.enqueue_many(mixed), list[Job[Any]])
send.call("1")  # type: ignore[arg-type]
send.enqueue_many([fetch.call("x")])  # type: ignore[list-item]

# -- the options of a declaration ------------------------------------------------------------------------------

app.task(que="mail")  # type: ignore[call-overload]
app.task(retry="often")  # type: ignore[call-overload]
app.task(7)  # type: ignore[call-overload]

# -- what follows a run, and how far it is ----------------------------------------------------------------------


@app.task
def chained(number: int, *, ctx: Context = CONTEXT) -> None:
    ctx.then(bare.call(number), send.using(delay=5).call(number))
    ctx.then(bare)  # type: ignore[arg-type]
    ctx.then(bare.enqueue(1))  # type: ignore[arg-type]
    ctx.progress(0.5, "half")
    ctx.progress("half")  # type: ignore[arg-type]


for report in send.enqueue(42).progress(every=timedelta(seconds=1)):
    assert_type(report.note, str)

# -- events ----------------------------------------------------------------------------------------------------


@app.on("user.created", retry=3, timeout=timedelta(minutes=1))
def subscriber(event: int, *, ctx: Context = CONTEXT) -> str:
    return f"{event} {ctx.id}"


@app.on("user.created")
async def awaited_subscriber(event: int) -> None: ...


assert_type(subscriber(42), str)
subscriber("42")  # type: ignore[arg-type]
app.on("user.created", result=60)  # type: ignore[call-arg]
app.on(subscriber)  # type: ignore[arg-type]
assert_type(app.publish("user.created", 42, queue="users", key="42", delay=5), Job[None])
app.publish("user.created", 42, dealy=5)  # type: ignore[call-arg]
app.publish("user.created")  # type: ignore[call-arg]
app.publish_now("user.created", 42)

# -- tasks and jobs as values ----------------------------------------------------------------------------------

assert_type(send.job("id").refresh().state, State)
assert_type(send.enqueue(42).stored, Stored)
assert_type(send.enqueue(42).cancel(), State)
assert_type(app.job("mail", "id"), Job[Any])


def enqueue_both(first: Task[[str], int], second: Task[[str], int]) -> tuple[Job[int], Job[int]]:
    return first.enqueue("x"), second.enqueue("x")


@app.task
def length(text: str) -> int:
    return len(text)


@app.task
async def alength(text: str) -> int:
    return len(text)


assert_type(enqueue_both(length, alength), tuple[Job[int], Job[int]])
enqueue_both(send, length)  # type: ignore[arg-type]


def anything(job: Job[object]) -> None: ...


anything(send.enqueue(42))

# -- the App ---------------------------------------------------------------------------------------------------

app.listen(Done, lambda event: event.job.id)
app.listen(Done, lambda event: event.jb)  # type: ignore[attr-defined]
with app, app.worker(["mail"], concurrency=4) as worker:
    worker.stop()
app.worker(concurrency="4")  # type: ignore[arg-type]
app.worker(concurency=4)  # type: ignore[call-arg]
assert_type(app.tasks["x"], Task[..., Any])
assert_type(app.rescue(), int)


# -- listeners -------------------------------------------------------------------------------------------------


async def heard(event: Done) -> None: ...


@app.listen(Done)
def noted(event: Done) -> str:
    return event.job.id


assert_type(noted(Done(Delivery(queue="", id="", token=1, attempt=1, body=b""))), str)
app.listen(Done, heard)()


def of_a_number(number: int) -> None: ...


app.listen(Done, of_a_number)  # type: ignore[arg-type]
app.listen(Done)(of_a_number)  # type: ignore[arg-type]
app.listen(int)  # type: ignore[type-var]
App("memory:", logger="holdfast")  # type: ignore[arg-type]


# -- schedules -------------------------------------------------------------------------------------------------


@app.schedule(cron="0 9 * * MON-FRI", tz="Europe/Paris", kwargs={"text": "x"})
@app.task(result=60)
def counted(text: str) -> int:
    return len(text)


assert_type(counted.enqueue("x"), Job[int])


@app.schedule(every=timedelta(minutes=5))  # type: ignore[type-var]
def no_task() -> None: ...


app.schedule(crom="0 9 * * *")  # type: ignore[call-arg]
app.schedule(every="5")  # type: ignore[arg-type]
app.schedule(every=60, missed="some")  # type: ignore[arg-type]
assert_type(app.schedules.add(counted.call("x"), every=60, overlap="allow"), list[Schedule])
app.schedules.add(counted, every=60)  # type: ignore[arg-type]
app.schedules.edit("counted", jitter="5")  # type: ignore[arg-type]
assert_type(app.schedules.next("counted"), list[datetime])
# -- transactions, queues and clients --------------------------------------------------------------------------

connection = object()
assert_type(send.using(connection=connection).enqueue(42), Job[str])
assert_type(app.enqueue_many([send.call(1)], connection=connection), list[Job[str]])
assert_type(app.queue("mail").send(b"x", connection=connection), Stored)
send.using(conection=connection)  # type: ignore[call-arg]


@app.task(result=60)
def pay(amount: int, *, ctx: Context = CONTEXT) -> int:
    ctx.ack_in(connection, result=amount)
    ctx.ack_in()  # type: ignore[call-arg]
    return amount


with app.queue("mail").lease() as deliveries:
    for delivery in deliveries:
        delivery.ack_in(connection, b"result", keep_result=timedelta(hours=1))
        delivery.ack_in(connection, "result")  # type: ignore[arg-type]

App(queues={"mail": QueueSettings(labels={"team": "mail"}, group="out", codec="msgpack")}, strict_queues=True)
App(queues={"mail": {"group": "out"}})  # type: ignore[dict-item]
App(strict_queus=True)  # type: ignore[call-arg]
App(client=lambda path: path, pool=connection)
QueueSettings(labels="team")  # type: ignore[arg-type]
chosen = app.queues("mail*", labels={"team": "mail", "tier": 1}, group="out")
assert_type([queue.name for queue in chosen], list[str])
app.worker(chosen, concurrency=2)
app.worker([7])  # type: ignore[list-item]
app.queues(label={"team": "mail"})  # type: ignore[call-arg]
