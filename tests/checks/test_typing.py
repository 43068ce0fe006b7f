"""The lines of tests/typing that are to be errors are errors for both type checkers, and the others are for neither."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "tests/typing"],
    "pyright": ["-m", "pyright", "--pythonpath", sys.executable],
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_find_what_they_should_and_nothing_else(checker: str) -> None:
    done = subprocess.run(
        [sys.executable, *CHECKERS[checker]], cwd=ROOT, capture_output=True, text=True, check=False, timeout=290
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_would_notice_what_is_no_error_any_more(checker: str, tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text("number: int = 1  # type: ignore[assignment]\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text().replace("tests/typing", "."))

    arguments = {"mypy": ["-m", "mypy", "--strict", "page.py"], "pyright": CHECKERS["pyright"]}
    done = subprocess.run(
        [sys.executable, *arguments[checker]], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=290
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "page.py:1" in done.stdout
