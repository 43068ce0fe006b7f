"""An order and the job that confirms it are one transaction: both are there, or neither is."""

import sqlite3
import tempfile
import warnings
from pathlib import Path

from holdfast import CONTEXT, App, Context

warnings.filterwarnings("ignore", message=".*WAL-reset race")  # of older SQLite libraries, when many processes write
folder = tempfile.TemporaryDirectory()
FILE = Path(folder.name, "shop.db")
app = App(f"sqlite:///{FILE}?driver=sqlite3")


@app.task(queue="mail")
def confirm(number: int, *, ctx: Context = CONTEXT) -> None:
    shop = sqlite3.connect(FILE)
    with shop:  # the mark and the end of the job are one transaction too
        shop.execute("UPDATE orders SET confirmed = confirmed + 1 WHERE number = ?", (number,))
        ctx.ack_in(shop)
    shop.close()


def order(shop: sqlite3.Connection, number: int, *, paid: bool) -> None:
    with shop:
        shop.execute("INSERT INTO orders (number) VALUES (?)", (number,))
        confirm.using(connection=shop).enqueue(number)
        if not paid:
            raise ValueError(f"order {number} is not paid")


def main() -> None:
    with app:
        shop = sqlite3.connect(FILE)
        shop.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, confirmed INTEGER DEFAULT 0)")
        for number, paid in ((1, True), (2, False), (3, True)):
            try:
                order(shop, number, paid=paid)
            except ValueError as error:
                print(f"{error}: there is neither the order nor the job")
        print("jobs that wait:", app.queue("mail").depth())
        with app.worker(drain=True) as worker:
            worker.join()
        print("orders and how often they were confirmed:", shop.execute("SELECT * FROM orders").fetchall())
        shop.close()
    folder.cleanup()


if __name__ == "__main__":
    main()
