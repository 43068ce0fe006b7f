"""How jobs are run: in threads, or on an event loop. A worker feeds every runner in the same way."""

from holdfast.worker.runners.loop import LoopRunner
from holdfast.worker.runners.runner import Desk, Runner, Tally
from holdfast.worker.runners.threads import ThreadRunner

__all__ = ["Desk", "LoopRunner", "Runner", "Tally", "ThreadRunner"]
