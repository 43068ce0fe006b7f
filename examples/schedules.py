"""Schedules by code and at run time; a movable clock lets a day pass in an instant."""

import tempfile
from datetime import UTC, datetime, timedelta

from holdfast import App
from holdfast.testing import MovableClock

clock = MovableClock(int(datetime(2026, 3, 28, 8, tzinfo=UTC).timestamp() * 1000), ticking=False)
folder = tempfile.TemporaryDirectory()
app = App(f"sqlite:///{folder.name}/schedules.db", clock=clock)


@app.schedule(cron="0 9 * * *", tz="Europe/Paris")  # the clocks go forward in the night of the 29th
@app.task
def report() -> None: ...


@app.schedule(every=timedelta(hours=6), missed="all", overlap="allow", name="tidy up", args=["logs"])
@app.task
def tidy(place: str) -> None: ...


def day(instant: datetime) -> str:
    return f"{instant:%d %b %H:%M} UTC"


def main() -> None:
    with app:
        app.schedules.register()  # workers do it when they start
        print("report:", ", ".join(day(tick) for tick in app.schedules.next("schedules.report", 3)))

        app.schedules.add(tidy.call("cache"), name="cache", cron="@hourly")
        app.schedules.pause("cache")
        print("cache is paused:", app.schedules.get("cache").paused)

        clock.move(24 * 3600)  # nobody was there for a day
        ticker = app.schedules.ticker(["default"])  # every worker has one of its own
        print("jobs sent:", ticker.tick())
        for name in ("schedules.report", "tidy up"):
            ticks = reversed(app.schedules.ticks(name))
            print(
                f"{name}:", ", ".join(f"{day(datetime.fromtimestamp(t.tick / 1000, UTC))} {t.outcome}" for t in ticks)
            )
    folder.cleanup()


if __name__ == "__main__":
    main()
