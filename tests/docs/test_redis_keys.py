"""The design page of the Redis store has every key that its scripts have in their maps."""

import re

from tests.docs.pages import ROOT

MAPPED = re.compile(r"^-- ((?:[KS]:\w+(?::<\w+>)?(?:, )?)+)  ", re.MULTILINE)


def test_every_key_of_queues_and_of_the_store_is_on_the_design_page() -> None:
    folder = ROOT / "src/holdfast/stores/redis/lua"
    scripts = [*folder.glob("*.lua"), *(folder / "completions").glob("*.lua"), *(folder / "schedules").glob("*.lua")]
    maps = {name for script in scripts for name in MAPPED.findall(script.read_text(encoding="utf-8"))}
    keys = {key for names in maps for key in names.split(", ")}
    page = (ROOT / "docs/design/redis.md").read_text(encoding="utf-8")

    assert len(keys) > 30
    assert {key for key in keys if f"`{key}`" not in page} == set()
