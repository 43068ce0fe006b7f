"""Prints the Python interpreters from 3.11 up found here, one for each minor version, oldest first.

With ``--others`` the version that runs this script is left out.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 14)


def candidates() -> Iterator[str]:
    """Return the interpreters that may be here: those on the search path, then those pyenv keeps."""
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        if found := shutil.which(f"python3.{minor}", path=_path_outside_environment()):
            yield found
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        yield from sorted(str(path) for path in Path(root, "versions").glob("3.*/bin/python3"))


def _path_outside_environment() -> str:
    """Return the search path without the running virtual environment, whose interpreter would hide the real one."""
    here = str(Path(sys.prefix, "bin"))
    return os.pathsep.join(part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != here)


def version(interpreter: str) -> tuple[int, int] | None:
    """Return the version an interpreter reports, or None when it does not run: pyenv leaves names that lead nowhere."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        run = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True, timeout=30)
        major, minor = map(int, run.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor


def main(*, others: bool) -> None:
    """Print the first working interpreter of each version, without the running one when others are asked for."""
    found: dict[tuple[int, int], str] = {}
    for interpreter in candidates():
        if (its := version(interpreter)) and OLDEST <= its <= NEWEST:
            found.setdefault(its, interpreter)
    if others:
        found.pop(sys.version_info[:2], None)
    for its in sorted(found):
        print(found[its])


if __name__ == "__main__":
    main(others="--others" in sys.argv[1:])
