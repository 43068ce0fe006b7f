"""``[tool.holdfast]`` in pyproject.toml: who wins, where it is looked for, and what is wrong in it."""

import pytest

from holdfast.app import App
from holdfast.cli.project import find_project
from holdfast.errors import BodyTooLarge, ConfigError

SHOP = """
from holdfast import App
app = App("sqlite:///jobs.db")
@app.task(queue="mail")
def send(user: int) -> None: ...
@app.task(queue="images")
def scale(name: str) -> None: ...
"""


@pytest.fixture
def shop(project):
    """shop.py beside a pyproject.toml whose table is given."""

    def write(table, source=SHOP):
        project("shop.py", source)
        return project("pyproject.toml", table)

    return write


# -- a worker's defaults ----------------------------------------------------------------------------------------


def test_a_worker_without_arguments_does_as_the_file_says(holdfast, shop):
    file = shop('[tool.holdfast]\napp = "shop:app"\nqueues = ["images"]\nconcurrency = 3\ngrace = 5\nisolated = 2\n')

    policy = holdfast("worker", "--drain", "--json").document

    assert (policy["app"], policy["queues"], policy["concurrency"], policy["grace"]) == ("shop:app", ["images"], 3, 5.0)
    assert policy["isolated"] == 2
    assert policy["project"] == str(file)


def test_the_file_is_named_in_what_is_printed_at_the_start(holdfast, shop):
    file = shop('[tool.holdfast]\napp = "shop:app"\n')

    assert f"settings     {file}" in holdfast("worker", "--drain").out


def test_the_environment_wins_over_the_file_and_an_option_over_both(holdfast, shop, monkeypatch):
    shop('[tool.holdfast]\napp = "shop:nothing"\nqueues = ["a"]\nconcurrency = 3\ngrace = 5\n')
    monkeypatch.setenv("HOLDFAST_APP", "shop:app")
    monkeypatch.setenv("HOLDFAST_QUEUES", "mail,images")
    monkeypatch.setenv("HOLDFAST_CONCURRENCY", "4")
    monkeypatch.setenv("HOLDFAST_GRACE", "6")

    policy = holdfast("worker", "--drain", "--json", "--concurrency", 5).document

    assert (policy["queues"], policy["concurrency"], policy["grace"]) == (["mail", "images"], 5, 6.0)


def test_lanes_come_from_the_file(holdfast, shop):
    shop('[tool.holdfast]\napp = "shop:app"\nlanes = { mail = 2, images = 1 }\n')

    assert holdfast("worker", "--drain", "--json").document["lanes"] == {"mail": 2, "images": 1}


def test_lanes_of_the_environment_win(holdfast, shop, monkeypatch):
    shop('[tool.holdfast]\napp = "shop:app"\nlanes = { mail = 2 }\n')
    monkeypatch.setenv("HOLDFAST_LANES", "mail=3 images=1")

    assert holdfast("worker", "--drain", "--json").document["lanes"] == {"mail": 3, "images": 1}


def test_without_a_file_the_defaults_hold(holdfast, shop, project):
    project("shop.py", SHOP)

    policy = holdfast("worker", "shop:app", "--drain", "--json").document

    assert (policy["queues"], policy["concurrency"], policy["project"]) == (["mail", "images"], 10, None)


def test_the_file_is_found_from_below_and_the_module_lies_beside_it(holdfast, shop, tmp_path, monkeypatch):
    shop('[tool.holdfast]\napp = "shop:app"\n')
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")

    assert holdfast("worker", "--drain").code == 0


def test_a_nearer_file_without_the_table_is_passed_by(shop, tmp_path):
    file = shop('[tool.holdfast]\napp = "shop:app"\n')
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "pyproject.toml").write_text("[tool.ruff]\n")

    assert find_project(tmp_path / "part").file == file


def test_a_file_above_the_repository_belongs_to_somebody_else(shop, tmp_path):
    shop('[tool.holdfast]\napp = "shop:app"\n')
    (tmp_path / "inner" / ".git").mkdir(parents=True)
    (tmp_path / "inner" / "deep").mkdir()

    assert find_project(tmp_path / "inner" / "deep") is None


def test_tasks_are_discovered_as_the_file_says(holdfast, shop, project):
    shop(
        '[tool.holdfast]\napp = "shop:app"\ntasks = ["mail", "images:*_work"]\n',
        "from holdfast import App\napp = App('sqlite:///jobs.db')\n",
    )
    for module in ("mail/tasks.py", "mail/other.py", "images/scale_work.py"):
        project(f"{module.partition('/')[0]}/__init__.py", "")
        name = module.rpartition("/")[2].removesuffix(".py")
        project(module, f"from shop import app\n@app.task(name={name!r})\ndef work() -> None: ...\n")

    policy = holdfast("worker", "--drain", "--json").document

    assert [task["name"] for task in policy["tasks"]] == ["tasks", "scale_work"]


@pytest.mark.parametrize("said_by", ["option", "environment"])
def test_tasks_are_discovered_as_an_option_or_the_environment_says(holdfast, project, monkeypatch, said_by):
    project("shop.py", "from holdfast import App\napp = App('sqlite:///jobs.db')\n")
    project("mail/__init__.py", "")
    project("mail/jobs.py", "from shop import app\n@app.task(name='send')\ndef send() -> None: ...\n")
    if said_by == "environment":
        monkeypatch.setenv("HOLDFAST_TASKS", "mail")

    more = ["--discover", "mail"] if said_by == "option" else []
    policy = holdfast("worker", "shop:app", "--drain", "--json", *more).document

    assert [task["name"] for task in policy["tasks"]] == ["send"]


# -- queues -----------------------------------------------------------------------------------------------------


def test_queues_are_told_their_settings_before_the_worker_works(holdfast, shop):
    shop('[tool.holdfast]\napp = "shop:app"\n[tool.holdfast.queues.mail]\nmax_body = 10\ndone_for = 60\n')

    answer = holdfast("worker", "--drain", "--json")

    assert answer.document["queues"] == ["mail", "images"]
    with App("sqlite:///jobs.db") as app, pytest.raises(BodyTooLarge):
        app.queue("mail").send(b"x" * 11)


def test_settings_in_the_file_and_in_code_are_one_too_many(holdfast, shop):
    told = 'db", queues={"mail": QueueSettings(limit=3)})'
    source = "from holdfast.config import QueueSettings" + SHOP.replace('db")', told)
    file = shop('[tool.holdfast]\napp = "shop:app"\n[tool.holdfast.queues.mail]\nmax_body = 10\n', source)

    said = holdfast("worker", "--drain").complaint

    assert f"{file}: queue 'mail' has settings here and in the App's code" in said


def test_labels_and_groups_come_from_the_file(holdfast, shop):
    shop('[tool.holdfast]\napp = "shop:app"\n[tool.holdfast.queues.mail]\ngroup = "out"\nlabels = { team = "a" }\n')
    holdfast("worker", "--drain")

    found = holdfast("queues", "list", "--group", "out", "--url", "sqlite:///jobs.db", "--json").document["queues"]
    assert [queue["queue"] for queue in found] == ["mail"]


def test_settings_of_a_queue_that_no_task_names_are_warned_of(holdfast, shop):
    file = shop('[tool.holdfast]\napp = "shop:app"\n[tool.holdfast.queues.mial]\nmax_body = 10\n')

    assert f"{file}: no task names queue 'mial' (did you mean 'mail'?)" in holdfast("worker", "--drain").err


# -- stores -----------------------------------------------------------------------------------------------------


def test_commands_look_at_the_files_store_from_wherever_they_are_started(holdfast, shop, tmp_path, monkeypatch):
    shop('[tool.holdfast]\nurl = "sqlite:///jobs.db"\n')
    with App(f"sqlite:///{tmp_path}/jobs.db") as app:
        app.queue("mail").send(b"")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")

    assert [queue["queue"] for queue in holdfast("queues", "list", "--json").document["queues"]] == ["mail"]


def test_the_environments_store_wins_over_the_files_and_an_option_over_both(holdfast, shop, tmp_path, monkeypatch):
    shop('[tool.holdfast]\nurl = "sqlite:///file.db"\n')
    for name in ("file", "environment", "option"):
        with App(f"sqlite:///{tmp_path}/{name}.db") as app:
            app.queue(name).send(b"")

    def seen(*more):
        return [queue["queue"] for queue in holdfast("queues", "list", "--json", *more).document["queues"]]

    assert seen() == ["file"]
    monkeypatch.setenv("HOLDFAST_URL", f"sqlite:///{tmp_path}/environment.db")
    assert seen() == ["environment"]
    assert seen("--url", f"sqlite:///{tmp_path}/option.db") == ["option"]


@pytest.mark.parametrize("where", ["file", "environment"])
def test_commands_use_the_apps_store_when_no_other_is_named(holdfast, shop, tmp_path, monkeypatch, where):
    shop('[tool.holdfast]\napp = "shop:app"\n' if where == "file" else "")
    if where == "environment":
        monkeypatch.setenv("HOLDFAST_APP", "shop:app")
    with App(f"sqlite:///{tmp_path}/jobs.db") as app:
        app.queue("mail").send(b"")

    assert [queue["queue"] for queue in holdfast("queues", "list", "--json").document["queues"]] == ["mail"]


def test_an_app_on_another_store_than_the_files_is_warned_of(holdfast, shop):
    file = shop('[tool.holdfast]\napp = "shop:app"\nurl = "sqlite:///other.db"\n')

    said = holdfast("worker", "--drain").err

    assert f"{file} says url = 'sqlite:///other.db', and the App is on sqlite:///jobs.db" in said


def test_one_store_written_in_two_ways_is_not_warned_of(holdfast, shop, tmp_path):
    shop(f'[tool.holdfast]\napp = "shop:app"\nurl = "sqlite:///{tmp_path}/jobs.db"\n')

    assert holdfast("worker", "--drain").err == ""


# -- what is wrong in it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (
            '[tool.holdfast]\napp = "shop:app"\nconcurency = 3',
            "has no 'concurency' (did you mean 'concurrency'?); known: app, url",
        ),
        ("[tool.holdfast]\nconcurrency = '3'", "concurrency: expected `int | null`, got `str`"),
        ("[tool.holdfast]\nconcurrency = 0", "concurrency: expected `int` >= 1"),
        ("[tool.holdfast]\nlanes.mail = 0", "lanes"),
        ("[tool.holdfast]\ngrace = -1", "grace: expected `float` >= 0"),
        ("[tool.holdfast]\nlog_format = 'jsn'", "log_format is text or json, not 'jsn' (did you mean 'json'?)"),
        ("[tool.holdfast]\ntasks = 'shop'", "tasks: expected `array`, got `str`"),
        ("[tool.holdfast]\nurl = 'jobs.db'", "url: 'jobs.db' is not a store URL; write for example"),
        ("[tool]\nholdfast = 3", "holdfast is a table: write [tool.holdfast]"),
        (
            "[tool.holdfast.queues.mail]\nmax_bdy = 3",
            "[tool.holdfast.queues.mail] has no 'max_bdy' (did you mean 'max_body'?)",
        ),
        (
            "[tool.holdfast.queues.mail]\ndone_for = '1d'",
            "[tool.holdfast.queues.mail]: done_for: expected `float`, got `str`",
        ),
        (
            "[tool.holdfast.queues.mail]\ndone_for = -1",
            "[tool.holdfast.queues.mail]: queue setting done_for must be 0 to",
        ),
        ("[tool.holdfast", "Expected ']'"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_the_file(holdfast, shop, table, complaint):
    file = shop(table)

    said = holdfast("worker").complaint

    assert str(file) in said
    assert complaint in said
    assert complaint in holdfast("queues", "list").complaint


def test_a_wrong_app_in_the_file_is_said_to_be_from_there(holdfast, shop):
    file = shop('[tool.holdfast]\napp = "shpo:app"\n')

    said = holdfast("worker").complaint

    assert f"{file}: app: 'shpo:app': there is no module 'shpo' (did you mean 'shop'?) in {file.parent}" in said


def test_a_file_that_is_no_text_is_an_error_with_its_name(tmp_path):
    (tmp_path / "pyproject.toml").write_bytes(b"\xff")

    with pytest.raises(ConfigError, match=f"{tmp_path}/pyproject.toml: "):
        find_project(tmp_path)
