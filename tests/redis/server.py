"""One server of Redis or Valkey: a child process with a folder and a port of its own, which it keeps over its lives."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import HOST, Port
from tests.redis.programs import program, spawn, until, version
from tests.redis.wire import ReplyError, Wire

PLAIN = {
    "save": '""',
    "databases": "64",
    "rdbcompression": "no",  # see start_loading
    "enable-debug-command": "local",
    "repl-diskless-sync-delay": "0",  # a replica waits 5 s for others that may come, otherwise
}
SINCE = {"enable-debug-command": (7, 0), "cluster-port": (7, 0)}
"""The version from which on an option is known."""
BEGINNINGS = ("LOADING", "MASTERDOWN", "NOAUTH")


class Server:
    """A server that is not started yet.

    Options are the lines of its configuration, with ``_`` for ``-``: ``appendonly="yes"``, ``maxmemory="50mb"``,
    ``user=["app on >secret ~* &* +@all"]`` (a list is several lines). Nothing is kept over its end unless
    ``appendonly`` or ``save`` says so. ``password`` is the default user's; ``tls`` a folder of ``certificate()``.
    Tests ask it through its Unix socket, so whatever is done to its port, they still can.
    """

    def __init__(
        self,
        flavour: str,
        folder: Path,
        *,
        password: str = "",
        tls: Path | None = None,
        sentinel: bool = False,
        **options,
    ) -> None:
        self.flavour, self.folder, self.password, self.tls = flavour, folder, password, tls
        self._sentinel, self._reserved = sentinel, Port()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False
        self.port = self._reserved.number
        self.socket = str(folder / "socket")
        folder.mkdir(parents=True, exist_ok=True)
        self._program = folder / f"{flavour}-server"
        self._program.symlink_to(program(flavour))
        self._configuration = folder / "server.conf"
        self.configure_file(self._lines(options))

    def configure_file(self, lines: Iterable[str]) -> None:
        """Add lines to its configuration, for the lives to come."""
        with self._configuration.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def _lines(self, options: dict[str, object]) -> Iterator[str]:
        yield from (f"bind {HOST}", f"dir {self.folder}", f"unixsocket {self.socket}")
        yield f"{'tls-port' if self.tls else 'port'} {self.port}"
        if self.tls:
            yield from ("port 0", "tls-auth-clients no", "tls-replication yes", f"tls-ca-cert-file {self.tls}/cert.pem")
            yield from (f"tls-cert-file {self.tls}/cert.pem", f"tls-key-file {self.tls}/key.pem")
        if self.password:
            yield f"requirepass {self.password}"
        if self.password and not self._sentinel:
            yield f"masterauth {self.password}"
        for name, values in (({} if self._sentinel else PLAIN) | _dashed(options)).items():
            if version(self.flavour) < SINCE.get(name, ()):
                continue
            yield from (f"{name} {value}" for value in (values if isinstance(values, list) else [values]))

    # -- where it is ----------------------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """Its host and port."""
        return HOST, self.port

    @property
    def url(self) -> str:
        """What opens its first database."""
        return (
            f"{'rediss' if self.tls else 'redis'}://{f':{self.password}@' if self.password else ''}{HOST}:{self.port}/0"
        )

    @property
    def socket_url(self) -> str:
        """What opens the same through its Unix socket."""
        return f"redis+unix://{f':{self.password}@' if self.password else ''}{self.socket}"

    # -- its life -------------------------------------------------------------------------------------------------

    def start(self, *, ready: bool = True, **options) -> "Server":
        """Start it, with these options for this life alone; return when it answers, or at once if not ``ready``."""
        assert not self.alive, f"{self} runs already"
        extra = [word for name, value in _dashed(options).items() for word in (f"--{name}", str(value))]
        mode = ["--sentinel"] if self._sentinel else []
        self._process = spawn([self._program, self._configuration, *mode, *extra], self.folder / "said")
        if ready:
            self.wait()
        return self

    def start_loading(self) -> "Server":
        """Start it so that it answers LOADING until ``end_loading``, or for 0.1 s a key.

        ``ask("SAVE")`` must have kept some keys of together more than a few kB before: it answers once in each kB that
        it loads. A log (``appendonly``) is loaded in one piece.
        """
        self.start(ready=False, key_load_delay=100_000, loading_process_events_interval_bytes=1024)
        until(lambda: self._refuses("LOADING"), f"{self} loads")
        return self

    def end_loading(self) -> None:
        """Let it load at its own pace, and wait until it has."""
        self.configure(key_load_delay=0)
        self.wait()

    def _refuses(self, beginning: str) -> bool:
        try:
            self.ask("DBSIZE")
        except ReplyError as error:
            return str(error).startswith(beginning)
        except OSError:
            pass
        return False

    def wait(self, within: float = 15.0) -> None:
        """Wait until it answers and has loaded what it kept."""
        until(self._answers, f"{self} answers", within, lambda: self.said)

    def _answers(self) -> bool:
        assert self.alive, f"{self} has ended:\n{self.said}"
        try:
            return self.ask("PING") == "PONG"
        except ReplyError as error:
            if str(error).startswith(BEGINNINGS):
                return False
            raise
        except OSError:
            return False

    @property
    def alive(self) -> bool:
        """Whether its process runs; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def reachable(self) -> bool:
        """Whether it runs and is not paused."""
        return self.alive and not self._is_paused

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def said(self) -> str:
        """All that it has written to its log in all its lives."""
        return (self.folder / "said").read_text(errors="replace")

    def kill(self) -> None:
        """Kill it with -9; return when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it shut down as an operator would: what it is to keep is written. Return when it is gone."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.alive:
            self._process.send_signal(number)
            self._process.wait(15)
        self._is_paused = False

    def restart(self, *, kill: bool = True, **options) -> None:
        """Kill it (or stop it) and start it again, on the same port and folder; return when it answers."""
        self.kill() if kill else self.stop()
        self.start(**options)

    def pause(self) -> None:
        """Stop its process where it stands: connections stay, the kernel still accepts new ones, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._is_paused = True

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)
        self._is_paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause it for the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def close(self) -> None:
        """Kill it, and remove its folder and give back its port for good."""
        self.kill()
        self._reserved.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what tests say to it -------------------------------------------------------------------------------------

    def wire(self, database: int = 0, timeout: float = 5.0) -> Wire:
        """Open a connection through its Unix socket, as the default user. The caller closes it."""
        wire = Wire(self.socket, timeout)
        try:
            if self.password:
                wire.ask("AUTH", self.password)
            if database:
                wire.ask("SELECT", database)
        except BaseException:
            wire.close()
            raise
        return wire

    def ask(self, *words: str | bytes | float, database: int = 0):
        """Ask one command on a connection of its own."""
        with self.wire(database) as wire:
            return wire.ask(*words)

    def info(self, section: str = "default") -> dict[str, str]:
        """Return a section of INFO."""
        return fields(self.ask("INFO", section))

    def configure(self, **options) -> None:
        """CONFIG SET, for this life alone."""
        for name, value in _dashed(options).items():
            self.ask("CONFIG", "SET", name, value)

    def flush(self) -> None:
        """Remove everything in all its databases, consumer groups of streams with it."""
        self.ask("FLUSHALL")

    def forget_scripts(self) -> None:
        """SCRIPT FLUSH: the next EVALSHA is answered NOSCRIPT."""
        self.ask("SCRIPT", "FLUSH", "SYNC")

    def replicate(self, master: "Server | None") -> None:
        """Make it a replica and wait until it follows the master, or (None) a master."""
        if master is None:
            self.ask("REPLICAOF", "NO", "ONE")
        else:
            self.ask("REPLICAOF", *master.address)
            until(lambda: self.follows(master), f"{self} follows {master}")

    def follows(self, master: "Server") -> bool:
        """Tell whether it is that server's replica, and has caught up with it once."""
        role = self.ask("ROLE")
        return role[0] == "slave" and role[2] == master.port and role[3] == "connected"

    def __str__(self) -> str:
        return f"{self.flavour} on port {self.port}"


def fields(text: str) -> dict[str, str]:
    """Return the ``name:value`` lines of INFO or CLUSTER INFO."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def certificate(folder: Path) -> Path:
    """Make ``cert.pem``, which vouches for itself and for 127.0.0.1 and localhost, and ``key.pem`` in a folder."""
    folder.mkdir(exist_ok=True)
    kind = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=holdfast",
    ]
    names = ["-addext", f"subjectAltName=IP:{HOST},DNS:localhost"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    return folder


def _dashed(options: dict[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in options.items()}
