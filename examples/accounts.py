"""Keys: transfers of one account run one at a time and in order, those of different accounts side by side."""

import threading
import time
from collections import defaultdict

from holdfast import App

app = App("memory:")
running: defaultdict[str, int] = defaultdict(int)
done: defaultdict[str, list[int]] = defaultdict(list)
together: list[int] = []
lock = threading.Lock()


@app.task
def transfer(account: str, number: int) -> None:
    with lock:
        running[account] += 1
        together.append(running[account])
    time.sleep(0.02)
    with lock:
        running[account] -= 1
        done[account].append(number)


def main() -> None:
    for number in range(5):
        for account in ("ann", "bob", "cid"):
            transfer.using(key=account).enqueue(account, number)
    with app.worker(concurrency=8, drain=True) as worker:
        worker.join()
    for account in sorted(done):
        print(account, done[account])
    print("at once, of one account:", max(together))


if __name__ == "__main__":
    main()
