"""The layers that CONTRIBUTING shows are those that are checked."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_layers_shown_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [layers] = [one["layers"] for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    shown = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[1].split("\n")
    assert [line for line in shown if line] == [line.replace("(", "").replace(")", "") for line in layers]
