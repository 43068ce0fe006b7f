"""Groups of callers at one disk, and the thread that looks after quiet partitions."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType

import pytest

from holdfast.errors import BackendError
from holdfast.logged import Columns
from holdfast.stores.disk import commit as commit_module
from holdfast.stores.disk.appends import Append
from holdfast.stores.disk.commit import GroupCommit, _Group
from holdfast.stores.disk.partition import Partition
from holdfast.stores.disk.upkeep import Upkeep
from tests.disk.conftest import Disk


class Slow:
    """What carries out groups, one at a time, when the test lets it."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.began, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, items: list[int]) -> None:
        self.groups.append(list(items))
        self.began.release()
        assert self.go_on.acquire(timeout=10)

    def wait(self) -> None:
        assert self.began.acquire(timeout=10)


def submitters(commit: GroupCommit[int], items: Iterator[int] | list[int]) -> list[threading.Thread]:
    threads = [threading.Thread(target=commit.submit, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    return threads


def gathered(commit: GroupCommit[int], number: int) -> None:
    """Return when so many wait for the next group."""
    while commit._next is None or len(commit._next.items) < number:
        threading.Event().wait(0.001)


@contextmanager
def handling(number: signal.Signals, handler: Callable[..., None]) -> Iterator[None]:
    """Handle a signal so inside the block, whatever this process inherited."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_who_comes_while_one_is_at_the_disk_is_in_the_next_group() -> None:
    slow = Slow()
    commit = GroupCommit(slow)
    threads = submitters(commit, [0])
    slow.wait()
    threads += submitters(commit, [1, 2, 3])
    gathered(commit, 3)
    slow.go_on.release()
    slow.wait()
    threads += submitters(commit, [4])
    gathered(commit, 1)
    slow.go_on.release(2)
    for thread in threads:
        thread.join(10)
    assert [sorted(group) for group in slow.groups] == [[0], [1, 2, 3], [4]]


def test_a_group_that_fails_does_not_stop_the_next() -> None:
    seen: list[int] = []

    def carry_out(items: list[int]) -> None:
        seen.extend(items)
        if 1 in items:
            raise KeyboardInterrupt

    commit = GroupCommit(carry_out)
    with pytest.raises(KeyboardInterrupt):
        commit.submit(1)
    commit.submit(2)
    assert seen == [1, 2]


def test_who_submits_while_his_own_thread_is_at_the_disk_is_refused() -> None:
    commit: GroupCommit[int] = GroupCommit(lambda items: commit.submit(2) if 1 in items else None)
    with pytest.raises(BackendError, match="middle of an append"):
        commit.submit(1)
    commit.submit(3)


def test_lingering_takes_those_along_who_come_meanwhile() -> None:
    groups: list[list[int]] = []
    commit: GroupCommit[int] = GroupCommit(lambda items: groups.append(list(items)), linger=0.005)
    threads = submitters(commit, list(range(30)))
    for thread in threads:
        thread.join(10)
    assert sorted(item for group in groups for item in group) == list(range(30))
    assert len(groups) < 30


def test_a_group_whose_first_was_interrupted_is_carried_out_by_another_of_it() -> None:
    slow = Slow()
    commit = GroupCommit(slow)
    threads = submitters(commit, [0])
    slow.wait()

    def interrupt() -> None:
        gathered(commit, 1)
        others = submitters(commit, [2, 3])
        threads.extend(others)
        gathered(commit, 3)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    threads.append(threading.Thread(target=interrupt))
    with handling(signal.SIGUSR2, interrupted):
        threads[-1].start()
        with pytest.raises(KeyboardInterrupt):
            commit.submit(1)
    slow.go_on.release(2)
    for thread in threads:
        thread.join(10)
    assert [sorted(group) for group in slow.groups] == [[0], [2, 3]]


class Interrupting:
    """Interrupts its thread where that first comes to this line of the module, and notes the lines it came to."""

    def __init__(self, line: int | None = None) -> None:
        self.line, self.seen = line, list[int]()

    def __call__(self, frame: FrameType, event: str, _: object) -> object:
        if frame.f_code.co_filename != commit_module.__file__:
            return None
        # A line is come to again where its ``with`` ends; there the interpreter lets no signal in.
        if event == "line" and frame.f_lineno not in self.seen:
            self.seen.append(frame.f_lineno)
            if frame.f_lineno == self.line:
                raise KeyboardInterrupt
        return self

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self)  # type: ignore[arg-type]

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


class Company:
    """A partition whose disk is busy until those who are to meet there have come; what each append came to."""

    def __init__(self, partition: Partition) -> None:
        self.partition, self.commit = partition, partition._commit
        self.came_to: dict[bytes, int | BaseException] = {}
        self._threads: list[threading.Thread] = []

    def append(self, body: bytes) -> None:
        try:
            self.came_to[body] = self.partition.append(Columns([body])).offset
        except BaseException as error:
            self.came_to[body] = error

    def come(self, body: bytes) -> None:
        """Let another thread append, and return when it waits."""
        self._threads.append(threading.Thread(target=self.append, args=(body,)))
        self._threads[-1].start()
        self.await_(body)

    def await_(self, body: bytes) -> None:
        """Return when this one waits, or has its answer."""
        while body not in self.came_to and not self._waits(body):
            threading.Event().wait(0.001)

    def _waits(self, body: bytes) -> bool:
        group = self.commit._next
        return group is not None and any(isinstance(one, Append) and body in one.columns.bodies for one in group.items)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def meet(partition: Partition, one: Interrupting, before: Sequence[bytes], behind: Sequence[bytes]) -> Company:
    """Append "one" in a group with those who come before and behind it."""
    company, ready = Company(partition), threading.Event()

    def hold() -> None:
        with company.commit._disk:
            for body in before:
                company.come(body)
            ready.set()
            company.await_(b"one")
            for body in behind:
                company.come(body)

    holder = threading.Thread(target=hold)
    holder.start()
    assert ready.wait(10)
    with one:
        company.append(b"one")
    holder.join(10)
    company.join()
    return company


@pytest.mark.parametrize(
    ("before", "behind"),
    [([], []), ([], [b"two", b"three"]), ([b"two"], [b"three"])],
    ids=["alone", "the first", "one of the others"],
)
def test_an_interrupt_at_any_line_leaves_nobody_waiting(
    disk: Disk, before: Sequence[bytes], behind: Sequence[bytes]
) -> None:
    partition = disk.open()
    lines = Interrupting()
    meet(partition, lines, before, behind)
    assert len(lines.seen) > 10
    for line in lines.seen:
        first = partition.next
        company = meet(partition, Interrupting(line), before, behind)
        assert isinstance(company.came_to.pop(b"one"), KeyboardInterrupt)
        assert len(company.came_to) == len(before) + len(behind)
        stored = disk.bodies(first)
        for body, came_to in company.came_to.items():
            if isinstance(came_to, BaseException):
                assert isinstance(came_to, BackendError)
                assert came_to.outcome_unknown
            else:
                assert stored[came_to - first] == body
        assert len(stored) == len(set(stored))
        partition.append(Columns([b"another"]))


def test_signals_leave_nobody_waiting_and_nothing_is_done_twice() -> None:
    done: list[int] = []
    commit: GroupCommit[int] = GroupCommit(done.extend)
    stop, numbers = threading.Event(), count()

    def produce() -> None:
        while not stop.is_set():
            commit.submit(next(numbers))

    threads = [threading.Thread(target=produce) for _ in range(3)]
    for thread in threads:
        thread.start()
    with handling(signal.SIGALRM, interrupted):
        try:
            for number in range(500):
                with suppress(KeyboardInterrupt):
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 250))
                    while True:
                        commit.submit(next(numbers))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(done) == len(set(done))


def test_a_signal_handler_that_submits_while_its_own_thread_leads_a_group_is_refused() -> None:
    slow = Slow()
    commit = GroupCommit(slow)
    threads = submitters(commit, [0])
    slow.wait()
    refused: list[BackendError] = []

    def handle(*_: object) -> None:
        try:
            commit.submit(2)
        except BackendError as error:
            refused.append(error)
        slow.go_on.release(2)

    def call() -> None:
        gathered(commit, 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    with handling(signal.SIGUSR2, handle):
        threads.append(threading.Thread(target=call))
        threads[-1].start()
        commit.submit(1)
    for thread in threads:
        thread.join(10)
    assert (slow.groups, len(refused)) == ([[0], [1]], 1)


def test_a_signal_handler_that_submits_while_its_own_thread_joins_a_group_is_refused() -> None:
    """It waited for a group that nobody could begin, for its own thread held the lock meanwhile."""
    slow = Slow()
    commit = GroupCommit(slow)
    threads = submitters(commit, [0])
    slow.wait()
    refused: list[BackendError] = []

    def handle(frame: FrameType, *_: object) -> object:
        """Do in the middle of the making of a group what a signal handler would do there."""
        if frame.f_code is _Group.__init__.__code__ and not refused:
            slow.go_on.release(2)
            with pytest.raises(BackendError) as told:
                commit.submit(2)
            refused.append(told.value)
        return None

    before = sys.gettrace()
    sys.settrace(handle)  # type: ignore[arg-type]
    try:
        commit.submit(1)
    finally:
        sys.settrace(before)
    for thread in threads:
        thread.join(10)
    assert (slow.groups, len(refused)) == ([[0], [1]], 1)


def test_upkeep_comes_again_until_what_it_keeps_is_quiet() -> None:
    delays = iter([0.001, 0.001, None])
    quiet = threading.Event()

    class Restless:
        def upkeep(self) -> float | None:
            delay = next(delays)
            if delay is None:
                quiet.set()
            return delay

    upkeep = Upkeep()
    upkeep.wake(Restless())
    assert quiet.wait(10)
    upkeep.stop()
    upkeep.stop()


def test_an_idle_partition_marks_itself_and_one_with_an_interval_syncs(disk: Disk) -> None:
    partition = disk.open(sync="interval", interval=0.001, idle_mark=0.01)
    disk.clock.ticking = False
    partition.append(Columns([b"a"]))
    stable = partition._live.segment.stable
    disk.clock.move(0.002)
    while partition._live.segment.stable == stable:
        threading.Event().wait(0.001)
    size = disk.logs()[0].stat().st_size
    disk.clock.move(1)
    while disk.logs()[0].stat().st_size == size:
        threading.Event().wait(0.001)
    assert disk.logs()[0].stat().st_size == size + 64
