"""What an examination of a data directory finds."""

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.errors import BackendError, Closed
from holdfast.logged import Columns
from holdfast.stores import disk, open_logs
from holdfast.stores.disk.logs import doctor
from holdfast.stores.disk.logs.scrubbing import known_damage, scrub
from tests.stores.disk_harness import DiskLogHarness

LOG = "events"


@pytest.fixture
def harness(tmp_path):
    with DiskLogHarness(tmp_path) as harness:
        yield harness


@pytest.fixture
def logs(harness):
    logs = harness.open_logs()
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a", b"b"]))
    return logs


def found(logs, text):
    [finding] = [finding for finding in logs.examine() if text in finding.what]
    return finding


def test_a_healthy_directory_has_no_trouble(logs):
    assert {finding.level for finding in logs.examine()} == {"ok"}


def test_a_directory_that_is_not_there_is_no_trouble(harness):
    assert found(harness.open_logs(), "not there yet").level == "ok"


def test_it_says_who_writes_from_any_process(harness, logs):
    assert "is written by process" in found(harness.open_logs(), "is written by").what


def test_a_log_that_was_closed_is_written_by_nobody(harness, logs):
    other = harness.open_logs()
    logs.close()

    assert not [one for one in other.examine() if "is written by" in one.what or "was not closed" in one.what]


def test_a_torn_end_is_told_before_and_after_it_is_cut_off(harness, logs):
    logs.close()
    [path] = (harness.root / "logs" / LOG / "0").glob("*.log")
    path.write_bytes(path.read_bytes() + b"torn!" * 20)

    logs = harness.open_logs()
    assert "100 torn bytes" in found(logs, "was not closed").what
    logs.append(LOG, 0, Columns([b"c"]))
    assert found(logs, "torn ends were cut off").level == "ok"


def test_damage_at_the_end_is_an_error(harness, logs):
    logs.close()
    [path] = (harness.root / "logs" / LOG / "0").glob("*.log")
    data = bytearray(path.read_bytes())
    data[130] ^= 1
    path.write_bytes(data)

    assert found(harness.open_logs(), "damaged").level == "error"


def test_a_network_file_system_is_an_error(logs, monkeypatch):
    monkeypatch.setattr(doctor, "file_system", lambda path: "nfs4")

    assert found(logs, "lies on nfs4").level == "error"


def test_permissions_for_others_are_a_warning(harness, logs):
    (harness.root / "logs").chmod(0o755)

    assert found(logs, "its permissions are").level == "warn"


@pytest.mark.parametrize(("free", "level"), [(1 << 40, "ok"), (100 << 20, "warn"), (1 << 20, "error")])
def test_a_disk_that_is_nearly_full_is_told(logs, monkeypatch, free, level):
    monkeypatch.setattr(logs.files, "free", lambda path: free)

    assert found(logs, "free on its disk").level == level


def test_a_disk_that_gets_full_is_told_once_until_there_is_room_again(logs, monkeypatch, caplog):
    free = iter([100 << 20, 90 << 20, 300 << 20, 80 << 20, 1 << 40, 70 << 20])
    monkeypatch.setattr(logs.files, "free", lambda path: next(free))

    for _ in range(6):
        logs.tidy()

    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(" MiB")[0].rpartition(" ")[2] for text in told] == ["100", "70"]


def test_opening_a_directory_on_a_network_warns(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "file_system", lambda path: "nfs4")

    with pytest.warns(RuntimeWarning, match="lies on nfs4"):
        open_logs(parse_url(f"disk:{tmp_path}/data"))


def test_a_closed_store_cannot_be_examined(logs):
    logs.close()

    with pytest.raises(Closed):
        logs.examine()


# -- what something but Holdfast did ------------------------------------------------------------------------------


def file_of(harness, name):
    return harness.root / "logs" / LOG / name


@pytest.mark.parametrize("how", ["shorter", "zeros"])
def test_an_end_that_readers_had_been_shown_and_is_gone_is_told_before_it_is_opened_and_then(
    harness, logs, caplog, how
):
    for _ in range(9):
        logs.append(LOG, 0, Columns([b"x" * 1000]))
    logs.close()
    [path] = file_of(harness, "0").glob("*.log")
    data = path.read_bytes()
    path.write_bytes(data[:4096] + (bytes(len(data) - 4096) if how == "zeros" else b""))

    logs = harness.open_logs()
    finding = found(logs, "are gone")
    assert (finding.level, "offsets 5 to 11 (not included)" in finding.what) == ("error", True)
    assert logs.append(LOG, 0, Columns([b"new"])).offset == 11
    assert "offsets 5 to 11 (not included) could be read before" in caplog.text


def test_a_segment_that_is_missing_is_told(harness, logs):
    for _ in range(3):
        logs.append(LOG, 0, Columns([b"x"]))
        logs.roll(LOG)
    [_, missing, *_] = sorted(file_of(harness, "0").glob("*.log"))
    missing.unlink()

    finding = found(logs, "damaged")
    assert finding.level == "error"
    assert str(missing) in finding.why


def test_a_segment_without_a_whole_header_is_told(harness, logs):
    logs.close()
    [path] = file_of(harness, "0").glob("*.log")
    path.write_bytes(b"rot!" + path.read_bytes()[4:])
    logs = harness.open_logs()

    assert found(logs, "damaged").level == "error"
    logs.append(LOG, 0, Columns([b"c"]))
    scrub(logs.log(LOG), 1 << 40, 0.0, 1 << 20, lambda text: None)
    assert known_damage(logs.log(LOG).directory)
    assert found(logs, "damaged").level == "error"  # once


def test_an_emptied_segment_keeps_nobody_from_the_rest(harness, logs):
    for _ in range(3):
        logs.append(LOG, 0, Columns([b"x"]))
        logs.roll(LOG)
    logs.close()
    sorted(file_of(harness, "0").glob("*.log"))[0].write_bytes(b"")

    findings = harness.open_logs().examine()

    assert [finding.level for finding in findings].count("error")
    assert [finding for finding in findings if "free on its disk" in finding.what]


@pytest.mark.parametrize("how", ["damaged", "removed"])
def test_a_log_whose_settings_are_no_more_is_told_and_nothing_takes_its_place(harness, logs, caplog, how):
    logs.close()
    settings = file_of(harness, "settings")
    settings.write_bytes(b"nonsense") if how == "damaged" else settings.unlink()
    logs = harness.open_logs()

    finding = found(logs, "cannot be opened")
    assert (finding.level, str(settings) in finding.why) == ("error", True)
    assert [logs.logs(), logs.logs()] == [{}, {}]
    assert len([one for one in caplog.records if str(settings) in str(one.args)]) == 1
    for act in (lambda: logs.declare(LOG, LogSettings()), lambda: logs.append(LOG, 0, Columns([b"c"]))):
        with pytest.raises(BackendError, match="restore that file from a copy"):
            act()
    assert [one.name for one in (harness.root / "logs").iterdir()] == [LOG]
