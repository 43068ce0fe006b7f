"""The process of isolated jobs: finds their handlers, runs one job after the other, and judges how each ended.

It is told what to do, and tells what came of it, over one socket, whose end is its own. Plain functions run in its
main thread, as in a program of their own, coroutine functions on a loop beside it; a third thread listens.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import spawn
from types import FrameType
from typing import Any, NoReturn

from holdfast.clock import SYSTEM
from holdfast.delivery import Delivery, Report
from holdfast.events import BeforeBury, BeforeRetry, Events
from holdfast.transactions import is_done
from holdfast.worker import inside
from holdfast.worker.context import Context
from holdfast.worker.handler import Found, Lifespan, lifespans
from holdfast.worker.hiring import hire
from holdfast.worker.outcomes import Outcomes, complete_in
from holdfast.worker.published import Published
from holdfast.worker.runners.runner import Desk, Runner
from holdfast.worker.runners.threads import ThreadRunner
from holdfast.worker.runners.wire import (
    Acked,
    Answer,
    End,
    Ended,
    Flags,
    Frames,
    Hello,
    Log,
    Ready,
    Told,
    Unfit,
    framed,
    pack,
)

TICK_MS = 200
"""How often, while a job runs, its progress is passed on."""
CHUNK = 1 << 20
_DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG`` of Linux's ``prctl``."""


def main(descriptor: int, worker: int) -> None:
    """Be such a process, for the worker of this pid, until it says so or is gone."""
    _die_with(worker)
    _leave_signals_to_the_worker()
    os.set_inheritable(descriptor, False)  # or a program that a job starts would keep this process's end open
    Isolation(socket.socket(fileno=descriptor)).run()


class Isolation:
    """This process: its handlers, the job that runs, and the socket to its worker."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._frames = Frames()
        self._saying = threading.Lock()
        self._runners: Sequence[Runner] = ()
        self._lifespans: list[Lifespan] = []
        self._running: Delivery | None = None
        self._flags = Flags()
        self._told: list[Told] = []
        self._report: Report | None = None
        self._reporting = threading.Lock()

    def run(self) -> None:
        """Live until told to end."""
        try:
            self._open(self._greeted())
        except BaseException as error:
            self._say(Unfit(pack(error)))
            return
        self._say(Ready())
        threading.Thread(target=self._listen, name="holdfast-listening", daemon=True).start()
        for runner in self._runners:
            if isinstance(runner, ThreadRunner):
                runner.serve()
        for runner in self._runners:
            if not isinstance(runner, ThreadRunner):
                runner.join()
        for lifespan in reversed(self._lifespans):
            lifespan.close()

    # -- the beginning --------------------------------------------------------------------------------------------

    def _greeted(self) -> Hello:
        while data := self._pipe.recv(CHUNK):
            for hello in self._frames.feed(data):
                assert isinstance(hello, Hello)
                return hello
        os._exit(1)

    def _open(self, hello: Hello) -> None:
        shared: dict[object, Any] = {}
        with inside.entering():
            spawn.prepare(dict(hello.preparation))
            found = [isolated.find(shared) for isolated in hello.handlers]
        _log_like(hello.log)
        desk = self._desk(found)
        for lifespan in lifespans(desk.handlers.values()):
            self._lifespans.append(lifespan)
            lifespan.open()
        self._runners = hire(desk, 1)
        for runner in self._runners:
            if not isinstance(runner, ThreadRunner):
                runner.start()
                runner.opened()

    def _desk(self, found: Sequence[Found]) -> Desk:
        handlers = {one.handler.kind: one.handler for one in found}
        its, store = found[0].events, found[0].store
        events = Events(None)  # whose listeners are here; those of the App hear of runs in the worker
        events.logger, events.job_logger = its.logger, its.job_logger
        events.listen(BeforeRetry, self._tell_retry)
        events.listen(BeforeBury, self._tell_burial)

        def complete(context: Context, connection: object, value: Any) -> None:
            complete_in(store(), handlers, context, connection, value)
            if context.delivery.acked is not None:
                self._say(Acked(context.delivery.acked))

        return Desk(
            handlers,
            Outcomes(events, committed=lambda delivery: is_done(store(), delivery)),
            events,
            SYSTEM,
            self._settle,
            _end_with,
            self._keep_report,
            Published(),
            complete,
        )

    # -- what the worker says -------------------------------------------------------------------------------------

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while True:
            if poll.poll(None if self._running is None else TICK_MS):
                data = self._pipe.recv(CHUNK)
                if not data:
                    os._exit(1)  # the worker has gone, and this job will run elsewhere
                for order in self._frames.feed(data):
                    self._obey(order)
            self._heed_flags()
            self._pass_report()

    def _obey(self, order: Any) -> None:
        match order:
            case Delivery():
                self._flags, self._running = Flags(), order
                next(runner for runner in self._runners if order.kind in runner.kinds).put([order])
            case Flags():
                self._flags = order
            case End():
                for runner in self._runners:
                    runner.stop()

    def _heed_flags(self) -> None:
        """Set the flags of the job that runs. They may have come before its context was made, so it is repeated."""
        flags = self._flags
        for runner in self._runners:
            for context in runner.running() if any(flags) else ():
                context.cancel_requested |= flags.cancel_requested
                context.lease_lost |= flags.lease_lost
                context.stopping |= flags.stopping
                if flags.interrupted and runner.interrupt([context]):
                    self._flags = flags._replace(interrupted=False)  # once is enough

    # -- what the worker hears ------------------------------------------------------------------------------------

    def _tell_retry(self, event: BeforeRetry) -> None:
        self._told.append(Told(pack(event.error), delay=event.delay))

    def _tell_burial(self, event: BeforeBury) -> None:
        self._told.append(Told(pack(event.error), reason=event.reason))

    def _keep_report(self, report: Report) -> None:
        self._report = report

    def _pass_report(self) -> None:
        with self._reporting:  # until it is said: the settlement of its run comes after it
            report, self._report = self._report, None
            if report is not None:
                self._say(report)

    def _settle(self, delivery: Delivery) -> None:
        self._pass_report()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a job may have closed it
                stream.flush()
        told, self._told = tuple(self._told), []
        self._running = None
        if delivery.settlement is not None:
            self._say(Ended(delivery.settlement, told))

    def _say(self, answer: Answer) -> None:
        data = framed(answer)
        try:
            with self._saying:
                self._pipe.sendall(data)
        except OSError:
            os._exit(1)  # nobody hears it


def _end_with(error: BaseException) -> NoReturn:
    traceback.print_exception(error)
    os._exit(1)


# -- the process ----------------------------------------------------------------------------------------------


def _die_with(worker: int) -> None:
    """Let the kernel kill this process when its worker dies, also while a job holds the interpreter's lock.

    Where it is not Linux, the end of the socket must do, which a thread sees.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)  # it was gone before


def _leave_signals_to_the_worker() -> None:
    """Do nothing at signals that are sent to all processes of a program at once; the worker ends this one in order.

    They are not ignored: a program that a job starts would ignore them too.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _let_pass)
    os.register_at_fork(after_in_child=_take_signals)


def _let_pass(number: int, frame: FrameType | None) -> None:
    pass


def _take_signals() -> None:
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is _let_pass:
            signal.signal(number, usual)


def _log_like(log: Log | None) -> None:
    """Let log lines go where those of the worker go, unless importing the program has seen to that."""
    if log is None or logging.root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(pickle.loads(log.formatter))
    logging.root.addHandler(handler)
    logging.root.setLevel(log.level)
