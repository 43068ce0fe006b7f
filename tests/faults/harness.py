"""The stage on which senders and workers live and die, on any store of ``stores.py``."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from holdfast.capabilities import JobFilter
from holdfast.config import parse_url
from holdfast.delivery import QueueStats, State
from holdfast.stores import open_store
from tests.faults.checker import Final, Promises, check, recoveries
from tests.faults.history import Accepted, Died, History, Killed, Offered, Paused, Sent, Started, now
from tests.faults.stores import FaultHarness

ROOT = Path(__file__).parents[2]
TTL = 2.0
PATIENCE = 30.0
HOLDFAST = "from holdfast.cli import main; main(prog_name='holdfast')"


# -- processes ----------------------------------------------------------------------------------------------------


class Program:
    """A process with all its descendants, which form a group of their own; what it says goes into a file."""

    def __init__(self, command: list[str], environment: dict[str, str], said: Path) -> None:
        self._said = said
        variables = {**os.environ, **environment}
        with said.open("wb") as file:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self._said.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, None while it lives."""
        return self._process.poll()

    def tree(self) -> list[int]:
        """Return the processes of the group, the first of them first."""
        return [self.pid, *sorted(pid for pid in group(self.pid) if pid != self.pid)]

    def signal(self, number: int) -> None:
        """Send a signal to the first process alone."""
        self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the whole group."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the first process to end; return its exit code."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"process {self.pid} has not ended within {timeout:g} s\n{self.said}") from None

    def end(self) -> None:
        """Kill whatever is left of the group."""
        if group(self.pid) or self.code is None:
            for number in (signal.SIGKILL, signal.SIGCONT):
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:
                    break
        self._process.wait()


def group(leader: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if int(fields[2]) == leader and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def is_gone(pid: int, within: float) -> bool:
    """Wait for a process, of whoever it is the child, to end; tell whether it has."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()  # knows descriptors above 1 024 too
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(within * 1000))
    finally:
        os.close(handle)


# -- the stage ----------------------------------------------------------------------------------------------------


class Stage:
    """One store, one history, and the processes of one test."""

    def __init__(self, harness: FaultHarness) -> None:
        self.harness = harness
        self.history = History(harness.folder / "history")
        self.backend = open_store(parse_url(harness.url))
        self._programs: list[Program] = []

    def close(self) -> None:
        """End every process, and close what is open here."""
        for program in self._programs:
            program.end()
        self.backend.close()
        self.history.close()
        self.harness.close()

    # -- starting -------------------------------------------------------------------------------------------------

    def start(self, *command: str, inside: Path | None = None, **environment: str) -> Program:
        """Start a Python program that knows the store and the history, and ``inside`` a cgroup if one is given."""
        known = {
            "HOLDFAST_URL": self.harness.url,
            "FAULTS_HISTORY": str(self.history.path),
            "FAULTS_STORE_TIME": "1" if self.harness.tells_time else "",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        }
        said = self.harness.folder / f"said-{len(self._programs)}"
        join = [] if inside is None else ["sh", "-c", f'echo $$ > {inside}/cgroup.procs && exec "$@"', "sh"]
        program = Program([*join, sys.executable, *command], known | environment, said)
        self._programs.append(program)
        return program

    def worker(self, *options: object, ttl: float = TTL, inside: Path | None = None, **environment: str) -> Program:
        """Start ``holdfast worker`` with these options."""
        words = ["worker", "tests.faults.tasks:app", "--queues", ",".join(self.harness.queues), *map(str, options)]
        return self.start("-c", HOLDFAST, *words, inside=inside, **{"HOLDFAST_TTL": str(ttl)} | environment)

    def sender(self, task: str, *arguments: object, count: int = 1, batch: int = 50, **options: object) -> Program:
        """Start a process that sends ``count`` calls of a task; see ``sender.py`` for the options."""
        environment = options.pop("environment", {})
        given = {"queues": self.harness.queues} | options
        words = [task, json.dumps(arguments), str(count), str(batch), json.dumps(given)]
        return self.start("-m", "tests.faults.sender", *words, **environment)

    def send(self, task: str, *arguments: object, count: int = 1, **options: object) -> list[str]:
        """Let another process send, and wait until it has ended; return the ids."""
        before = len(self.history.facts())
        sender = self.sender(task, *arguments, count=count, **options)
        assert sender.wait() == 0, sender.said
        return [fact.id for fact in self.history.of(Offered, since=before)]

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait_for_starts(self, number: int, since: int = 0, within: float = PATIENCE) -> list[Started]:
        """Wait until so many runs have begun since the ``since``-th fact; return them."""
        return self.history.wait(
            lambda: len(found := self.history.of(Started, since=since)) >= number and found,
            f"{number} starts",
            within,
        )

    def wait_for_acks(self, ids: Iterable[str], within: float = PATIENCE) -> None:
        """Wait until the completions of these jobs were accepted."""
        wanted = set(ids)
        self.history.wait(lambda: wanted <= {fact.id for fact in self.history.of(Accepted)}, "all is done", within)

    def wait_until_idle(self, within: float = PATIENCE) -> QueueStats:
        """Wait until nothing is scheduled, ready or running; return the counts of the last queue."""

        def idle() -> QueueStats | None:
            for queue in self.harness.queues:
                stats = self.backend.stats(queue)
                if stats.scheduled or stats.ready or stats.running:
                    return None
            return stats

        found = self.history.wait(idle, "nothing is left to do", within)
        assert found is not None
        return found

    def wait_for_holders(self, number: int) -> None:
        """Wait until so many workers are at work, at least."""
        self.history.wait(lambda: len(self.backend.holders()) >= number, f"{number} workers", PATIENCE)

    def wait_for_newcomer(self, known: Collection[str]) -> float:
        """Wait until a worker is at work that is none of these holders; return when."""

        def others() -> bool:
            return any(holder.id not in known for holder in self.backend.holders())

        self.history.wait(others, "another worker", PATIENCE)
        return now()

    def wait_for_end(self, pids: Iterable[int], within: float = PATIENCE) -> None:
        """Wait until these processes have ended."""
        end = time.monotonic() + within
        for pid in pids:
            assert is_gone(pid, max(0.0, end - time.monotonic())), f"process {pid} still lives"

    # -- disturbing -----------------------------------------------------------------------------------------------

    def kill(self, *pids: int) -> float:
        """Kill these processes with SIGKILL, and tell of it; return when."""
        at = now()  # before: their supervisor may be quicker than this process
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return self._tell(Killed, pids, at)

    def kill_tree(self, program: Program) -> float:
        """Kill a process and all its descendants at once, and tell of it; return when."""
        pids = program.tree()
        at = now()
        program.signal_all(signal.SIGKILL)
        program.wait()
        return self._tell(Killed, pids, at)

    def pause(self, program: Program) -> float:
        """Stop a process and all its descendants, and tell of it; return when."""
        pids = program.tree()
        program.signal_all(signal.SIGSTOP)
        return self._tell(Paused, pids, now())

    def found_dead(self, *pids: int) -> None:
        """Tell of processes that something else than this test has killed."""
        self._tell(Died, pids, now())

    def _tell(self, kind: type[Died | Killed | Paused], pids: Iterable[int], at: float) -> float:
        fact = kind(at=at, pids=tuple(pids))
        self.history.notes.note(fact)
        return fact.at

    # -- judging --------------------------------------------------------------------------------------------------

    def finals(self) -> list[Final]:
        """Return what the store says of every job."""
        return [final for queue in self.harness.queues for final in self._finals_of(queue)]

    def _finals_of(self, queue: str) -> list[Final]:
        found, cursor = [], None
        while True:
            page = self.backend.browse(queue, JobFilter(), limit=1000, cursor=cursor)
            found += [Final(job.id, job.state, job.token, job.attempts, job.crashes, job.reason) for job in page.jobs]
            if (cursor := page.cursor) is None:
                return found

    def findings(self, promises: Promises) -> list[object]:
        """Return what is wrong with all that has happened here."""
        return check(self.history.facts(), self.finals(), promises)[:20]

    def recoveries(self) -> list[float]:
        """Return the seconds after which each interrupted run was followed by another."""
        return recoveries(self.history.facts(), self.finals())

    def acknowledged(self) -> int:
        """Return how many jobs the senders were told are stored."""
        return sum(len(fact.ids) for fact in self.history.of(Sent))

    def ended(self, state: State) -> list[Final]:
        """Return the jobs in this state."""
        return [final for final in self.finals() if final.state is state]
