"""Runs what a page shows: files are written, Python is executed, commands are called, and what they print compared.

A fence's first word is its language, the rest says what to do with it::

    ```python file=jobs.py     written to jobs.py in the page's own directory; so is text in another language
    ```python append=jobs.py   added to the end of that file
    ```python                  executed; all such blocks of a page share one process, hence their names
    ```python no-run           only compiled: it needs what is not installed here
    ```output                  what the Python block before it prints
    ```console                 each line after "$ " is run by a shell; the lines below it are what it prints

Shown output may have ``...`` where it varies. Ids of jobs and numbers of processes are equal to each other.
"""

import doctest
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\S*)[ \t]*([^\n]*)\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_VARIES = ((r"\b[0-9a-f]{32}\b", "ID"), (r"\bprocess \d+", "process PID"), (r"#[0-9a-f]{12}\b", "#INCARNATION"))
_END = "\x00end of block\x00"
_CHILD = f"""
import sys
sys.path.insert(0, "")
names = {{"__name__": "page"}}
for block in sys.stdin.read().split("\\0"):
    number, _, source = block.partition("\\n")
    exec(compile(source, f"block at line {{number}}", "exec"), names)
    print({_END!r}, flush=True)
"""


class Block(NamedTuple):
    """One fenced block of a page."""

    line: int
    language: str
    info: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 2, found[1], found[2].strip(), found[3])
        for found in _FENCE.finditer(text)
    ]


class Run:
    """One page being run in a directory."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.blocks = blocks(page)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "HOLDFAST_URL": "", "COLUMNS": "100"}

    def all(self) -> None:
        """Run the page; ``AssertionError`` names the line that is not so."""
        waiting: list[int] = []
        for place, block in enumerate(self.blocks):
            if block.language == "python" and "no-run" in block.info:
                compile(block.text, f"{self.page.name}:{block.line}", "exec")
            elif block.info.startswith("file="):
                self._file(block.info.removeprefix("file=")).write_text(block.text)
            elif block.info.startswith("append="):
                self._python(waiting)  # a module is imported once in a process, so what follows needs another
                waiting = []
                with self._file(block.info.removeprefix("append=")).open("a") as file:
                    file.write(block.text)
            elif block.language == "python":
                waiting.append(place)
            elif block.language == "console":
                self._python(waiting)
                waiting = []
                self._console(block)
        self._python(waiting)

    def _file(self, name: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _python(self, places: list[int]) -> None:
        """Execute these blocks in one process, and compare what each prints with the output block behind it."""
        if not places:
            return
        source = "\0".join(f"{self.blocks[place].line}\n{self.blocks[place].text}" for place in places)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _CHILD],
            input=source,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=50,
            check=False,
        )
        last = "\n".join(done.stderr.splitlines()[-12:])
        assert done.returncode == 0, f"{self.page.name} failed:\n{last}\n{done.stdout}"
        printed = done.stdout.split(f"{_END}\n")
        for place, text in zip(places, printed, strict=False):
            following = self.blocks[place + 1] if place + 1 < len(self.blocks) else None
            if following is not None and following.language == "output":
                self._compare(following.line, following.text, text)

    def _console(self, block: Block) -> None:
        for offset, command, shown in _commands(block.text):
            printed = self._shell(command)
            self._compare(block.line + offset, shown, printed)

    def _shell(self, command: str) -> str:
        with subprocess.Popen(
            command,
            shell=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        ) as shell:
            try:
                return shell.communicate(timeout=50)[0]
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                raise

    def _compare(self, line: int, shown: str, printed: str) -> None:
        want, got = _normal(shown), _normal(printed)
        checker = doctest.OutputChecker()
        place = f"{self.page.relative_to(ROOT)}:{line}"
        assert checker.check_output(want, got, doctest.ELLIPSIS), f"{place} shows\n{shown}\nbut it is\n{printed}"


def _commands(text: str) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    for offset, line in enumerate(text.splitlines()):
        if line.startswith("$ "):
            found.append((offset, line[2:], ""))
        elif found[-1][1].endswith("\\"):
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line}", "")
        else:
            found[-1] = (*found[-1][:2], f"{found[-1][2]}{line}\n")
    return found


def _normal(text: str) -> str:
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines()).lstrip("\n")
