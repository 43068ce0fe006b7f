"""Every slip a newcomer can make on a command line says what to write instead, in words that this module reads."""

import pytest

from holdfast.cli import main

APP = "from holdfast import App\napp = App('sqlite:///jobs.db')\n"
TASK = "@app.task(queue='mail')\ndef send(): ...\n"


@pytest.fixture
def shop(project):
    """A good module, shop.py, with an App called app."""
    return project("shop.py", APP + TASK)


# -- commands and options ---------------------------------------------------------------------------------------


def test_a_mistyped_command_is_told_the_nearest_one(holdfast):
    assert "No such command 'wroker' (did you mean 'worker'?); known: worker, jobs," in holdfast("wroker").misuse


def test_a_mistyped_command_of_a_noun_is_told_the_nearest_one(holdfast):
    assert "'lst' (did you mean 'list'?)" in holdfast("jobs", "lst").misuse


def test_a_mistyped_option_is_told_the_nearest_one(holdfast):
    said = holdfast("jobs", "list", "--kidn", "mail").misuse

    assert "--kidn" in said
    assert "--kind" in said


def test_a_word_for_a_number_is_refused(holdfast):
    assert "'many' is not a valid integer" in holdfast("worker", "shop:app", "--concurrency", "many").misuse


def test_a_concurrency_of_nought_is_refused(holdfast):
    assert "0 is not in the range x>=1" in holdfast("worker", "shop:app", "--concurrency", "0").misuse


def test_a_state_by_another_systems_name_is_told_ours(holdfast):
    said = holdfast("jobs", "list", "--state", "failed").misuse

    assert "'failed' is no state of a job (did you mean 'dead'?); known: scheduled, ready, running," in said


def test_a_mistyped_state_is_told_the_nearest_one(holdfast):
    said = holdfast("queues", "flush", "mail", "--state", "cancled").misuse

    assert "'cancled' is no state of a job (did you mean 'cancelled'?)" in said


def test_a_time_that_is_none_is_told_how_to_write_one(holdfast):
    said = holdfast("dead", "list", "--since", "yesterday").misuse

    assert "'yesterday' is no time; write 30m, 2h or 7d for so long ago" in said


# -- which App --------------------------------------------------------------------------------------------------


def test_a_worker_without_an_app_is_told_how_to_name_one(holdfast):
    said = holdfast("worker").misuse

    assert "Which App? Write package.module:app, for example shop.jobs:app" in said
    assert "or set app in [tool.holdfast] of pyproject.toml" in said


def test_a_module_without_an_attribute_is_told_to_name_the_app(holdfast, shop):
    assert "'shop' does not say which App" in (said := holdfast("worker", "shop").complaint)
    assert "(perhaps shop:app)" in said


def test_a_file_in_place_of_a_module_is_told_the_module(holdfast, shop):
    said = holdfast("worker", "web/shop.py:app").complaint

    assert "'web/shop.py:app' names a file; name the module: web.shop:app" in said


def test_a_name_that_cannot_be_one_is_refused(holdfast, shop):
    assert "'my-shop:app' cannot be imported: write package.module:app" in holdfast("worker", "my-shop:app").complaint


def test_a_mistyped_module_is_told_the_nearest_one_and_where_was_looked(holdfast, shop):
    said = holdfast("worker", "shpo:app").complaint

    assert f"there is no module 'shpo' (did you mean 'shop'?) in {shop.parent} or the environment" in said
    assert "start holdfast where your package lies, or install it" in said


def test_a_mistyped_module_of_a_package_is_told_the_nearest_one(holdfast, project):
    project("web/__init__.py", "")
    project("web/jobs.py", APP)

    assert "there is no module 'web.job' (did you mean 'jobs'?)" in holdfast("worker", "web.job:app").complaint


def test_a_dependency_that_is_not_installed_is_named_with_the_line_that_wants_it(holdfast, project):
    file = project("shop.py", "\nimport nowhere_to_be_found\n")

    said = holdfast("worker", "shop:app").complaint

    assert f"importing 'shop' failed at {file}:2: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in said
    assert "install it into this environment" in said


def test_a_syntax_error_is_shown_with_its_line(holdfast, project):
    file = project("shop.py", "app = (\n")

    assert f"importing 'shop' failed at {file}:1: SyntaxError" in holdfast("worker", "shop:app").complaint


def test_an_error_at_import_is_shown_with_its_line(holdfast, project):
    file = project("shop.py", APP + "price = 1 / 0\n")

    assert f"failed at {file}:3: ZeroDivisionError: division by zero" in holdfast("worker", "shop:app").complaint


def test_a_wrong_declaration_is_shown_with_its_line(holdfast, project):
    file = project("shop.py", APP + "@app.task(qeue='mail')\ndef send(): ...\n")

    said = holdfast("worker", "shop:app").complaint

    assert f"failed at {file}:3: unknown task option 'qeue' (did you mean 'queue'?)" in said


def test_a_second_consumer_of_one_name_is_shown_with_its_line(holdfast, project):
    consumer = "@app.consume('orders', group='{0}', name='bill')\ndef {0}(order: bytes): ...\n"
    file = project("shop.py", APP + consumer.format("billing") + consumer.format("mailing"))

    assert f"failed at {file}:5: " in holdfast("worker", "shop:app").complaint


def test_an_error_that_the_standard_library_raises_is_shown_with_the_users_line(holdfast, project):
    file = project("shop.py", APP + "import json\njson.loads('{')\n")

    assert f"failed at {file}:4: JSONDecodeError" in holdfast("worker", "shop:app").complaint


def test_a_script_that_ends_the_program_at_import_is_told_to_guard_it(holdfast, project):
    project("shop.py", APP + "raise SystemExit\n")

    assert "importing 'shop' ended the program" in (said := holdfast("worker", "shop:app").complaint)
    assert "if __name__ == '__main__':" in said


def test_a_mistyped_attribute_is_told_the_app_that_is_there(holdfast, shop):
    said = holdfast("worker", "shop:ap").complaint

    assert "module 'shop' has no 'ap' (did you mean 'app'?); the App there is shop:app" in said


def test_a_module_without_an_app_is_told_to_make_one(holdfast, project):
    project("shop.py", "")

    assert "module 'shop' has no 'app'; make one there: app = App()" in holdfast("worker", "shop:app").complaint


def test_a_task_in_place_of_the_app_is_told_the_app(holdfast, shop):
    said = holdfast("worker", "shop:send").complaint

    assert "shop:send is the task 'shop.send', not a holdfast App; the App there is shop:app" in said


@pytest.mark.parametrize(
    ("source", "described"),
    [
        ("def app(): ...", "the function app"),
        ("class app: ...", "the class app"),
        ("app = 3", "of type int"),
        ("app = None", "of type NoneType"),
    ],
)
def test_something_else_in_place_of_the_app_is_named(holdfast, project, source, described):
    project("shop.py", source)

    assert f"shop:app is {described}, not a holdfast App" in holdfast("worker", "shop:app").complaint


def test_an_app_without_tasks_is_told_how_to_declare_one(holdfast, project):
    project("shop.py", APP)

    said = holdfast("worker", "shop:app").complaint

    assert "shop:app has no tasks: declare one with @app.task, and import its module in shop" in said


def test_a_mistyped_package_to_discover_is_named(holdfast, shop):
    assert "there is no module 'shpo'" in holdfast("worker", "shop:app", "--discover", "shpo").complaint


def test_a_module_that_is_discovered_and_broken_is_shown_with_its_line(holdfast, project, shop):
    project("web/__init__.py", "")
    file = project("web/tasks.py", "\n1 / 0\n")

    said = holdfast("worker", "shop:app", "--discover", "web").complaint

    assert f"importing 'web.tasks' failed at {file}:2: ZeroDivisionError" in said


def test_a_mistyped_key_in_the_projects_file_is_told_the_nearest(holdfast, project, shop):
    file = project("pyproject.toml", "[tool.holdfast]\nap = 'shop:app'\n")

    assert f"{file}: [tool.holdfast] has no 'ap' (did you mean 'app'?)" in holdfast("worker").complaint


def test_a_queue_that_no_task_names_is_warned_of(holdfast, shop):
    answer = holdfast("worker", "shop:app", "--queues", "mial", "--drain")

    assert answer.code == 0
    assert "no task names queue 'mial' (did you mean 'mail'?)" in answer.err


def test_a_worker_on_a_store_inside_its_process_is_warned_that_nobody_can_send_to_it(holdfast, project):
    project("shop.py", "from holdfast import App\napp = App('memory:')\n" + TASK)

    answer = holdfast("worker", "shop:app", "--drain")

    assert answer.code == 0
    assert "memory: lives inside this process: nobody else can send to this worker; use one that" in answer.err


# -- which store ------------------------------------------------------------------------------------------------


def test_no_store_at_all_is_told_how_to_name_one(holdfast, project):
    said = holdfast("queues", "list").complaint

    assert "which store? Give --url or --app, or set HOLDFAST_URL (holdfast.db is not here)" in said


def test_two_stores_are_one_too_many(holdfast, shop, url):
    assert "Give --url or --app, not both." in holdfast("queues", "list", "--url", url, "--app", "shop:app").misuse


def test_a_path_in_place_of_a_url_is_told_the_form(holdfast):
    said = holdfast("queues", "list", "--url", "jobs.db").complaint

    assert "'jobs.db' is not a store URL; write for example sqlite:///jobs.db" in said


def test_an_unknown_scheme_is_told_the_nearest_and_the_known_ones(holdfast):
    said = holdfast("queues", "list", "--url", "sqllite:///jobs.db").complaint

    assert "no store answers to 'sqllite' (did you mean 'sqlite'?); known: disk, memory, redis, sqlite, valkey" in said


def test_an_unknown_option_of_a_url_is_told_the_nearest(holdfast, url, app, send):
    send.enqueue(1)

    said = holdfast("queues", "list", "--url", f"{url}?snyc=full").complaint

    assert "unknown option 'snyc' (did you mean 'sync'?)" in said


def test_a_missing_file_is_not_made_and_the_nearest_is_named(holdfast, url, send, tmp_path):
    send.enqueue(1)

    said = holdfast("queues", "list", "--url", f"sqlite:///{tmp_path}/job.db").complaint

    assert f"there is no file {tmp_path}/job.db (did you mean 'jobs.db'?)" in said
    assert "three slashes for a relative path, four for an absolute one" in said
    assert not (tmp_path / "job.db").exists()


def test_a_host_in_place_of_a_path_is_told_the_slashes(holdfast):
    said = holdfast("queues", "list", "--url", "sqlite://jobs.db").complaint

    assert "write sqlite:///relative.db or sqlite:////absolute.db" in said


def test_a_file_that_is_no_database_is_said_to_be_none(holdfast, tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at " * 40)

    said = holdfast("queues", "list", "--url", f"sqlite:///{tmp_path}/notes.txt").complaint

    assert "notes.txt" in said
    assert "not a database" in said


def test_a_store_inside_one_process_is_refused_from_outside(holdfast):
    said = holdfast("queues", "list", "--url", "memory:").complaint

    assert "this store lives inside one process, so a command finds nothing in it" in said
    assert "sqlite:///jobs.db" in said


# -- which queue, which job -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["queues stats", "queues pause", "queues resume", "queues reload", "queues flush --yes", "queues destroy --yes"],
)
def test_a_mistyped_queue_is_told_the_nearest_and_nothing_is_made(holdfast, app, url, send, command):
    send.enqueue(1)

    said = holdfast(*command.split(), "mial", "--url", url).complaint

    assert "there is no queue 'mial' (did you mean 'mail'?); known: mail" in said
    assert list(app.backend.queues()) == ["mail"]


@pytest.mark.parametrize(
    "command",
    [
        "schedules list",
        "schedules show daily",
        "schedules pause daily",
        "jobs list",
        "dead list",
        "dead replay --all",
        "dead purge --yes",
    ],
)
def test_a_mistyped_queue_as_an_option_is_told_the_nearest(holdfast, url, send, command):
    send.enqueue(1)

    said = holdfast(*command.split(), "--queue", "mial", "--url", url).complaint

    assert "there is no queue 'mial' (did you mean 'mail'?); known: mail" in said


def test_a_queue_of_an_empty_store_is_told_that_there_are_none(holdfast, app, url):
    app.backend.queues()

    said = holdfast("queues", "stats", "mail", "--url", url).complaint

    assert "there is no queue 'mail'; this store has none yet" in said


@pytest.mark.parametrize("command", ["jobs show", "jobs cancel", "jobs replay", "dead replay"])
def test_an_unknown_job_is_told_where_to_look(holdfast, url, send, command):
    send.enqueue(1)

    said = holdfast(*command.split(), "0123", "--url", url).complaint

    assert "there is no job 0123 in queue 'mail': it was removed, or never sent; holdfast jobs list shows" in said


@pytest.mark.parametrize("command", ["jobs cancel", "jobs replay", "dead replay"])
def test_a_command_on_no_jobs_is_asked_which(holdfast, url, send, command):
    send.enqueue(1)

    said = holdfast(*command.split(), "--url", url).misuse

    assert "Which jobs? Give ids, or filters such as --kind and --reason, or --all." in said


def test_ids_and_filters_together_are_refused(holdfast, url, send):
    job = send.enqueue(1)

    assert "not both" in holdfast("jobs", "cancel", job.id, "--kind", "mail.send", "--url", url).misuse


def test_a_cursor_without_its_queue_is_refused(holdfast, app, url, send):
    send.enqueue(1)
    send.using(queue="news").enqueue(1)

    said = holdfast("jobs", "list", "--cursor", "7", "--url", url).misuse

    assert "--cursor goes with one --queue: each queue has pages of its own." in said


def test_flushing_running_jobs_is_told_to_cancel_them(holdfast, url, send):
    send.enqueue(1)

    said = holdfast("queues", "flush", "mail", "--state", "running", "--yes", "--url", url).misuse

    assert "Running jobs cannot be flushed: holdfast jobs cancel asks their workers to stop them." in said


def test_replaying_jobs_that_have_not_ended_is_refused(holdfast, url, send):
    send.enqueue(1)

    said = holdfast("jobs", "replay", "--state", "ready", "--url", url).misuse

    assert "Only dead, cancelled, expired jobs can be replayed." in said


# -- schedules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "next", "pause", "resume", "run", "remove --yes"])
def test_a_mistyped_schedule_is_told_the_nearest(holdfast, app, url, send, command):
    app.schedules.add(send.call(1), name="daily", every=60)

    said = holdfast("schedules", *command.split(), "dayly", "--url", url).complaint

    assert "no schedule is called 'dayly' (did you mean 'daily'?)" in said


def test_a_schedule_looked_for_in_another_queue_is_said_not_to_be_there(holdfast, app, url, send):
    app.schedules.add(send.call(1), name="daily", every=60)
    app.queue("news").send(b"")

    said = holdfast("schedules", "show", "daily", "--queue", "news", "--url", url).complaint

    assert "no schedule is called 'daily' in queue 'news'" in said


def test_a_count_of_no_ticks_is_refused(holdfast, url):
    assert "0 is not in the range" in holdfast("schedules", "next", "daily", "-n", 0, "--url", url).misuse


# -- the demo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--source", "--dir"])
def test_a_directory_that_is_not_there_is_named_with_its_option(holdfast, tmp_path, option):
    said = holdfast("demo", option, tmp_path / "nowhere").complaint

    assert f"{option} {tmp_path}/nowhere: there is no such directory" in said


def test_a_source_without_python_files_is_told_to_name_another(holdfast, tmp_path):
    said = holdfast("demo", "--source", tmp_path).complaint

    assert f"there are no Python files under {tmp_path}: name a directory that has some with --source" in said


def test_the_commands_named_in_these_texts_exist():
    assert {"jobs", "worker"} <= set(main.list_commands(None))


def test_a_lane_without_slots_is_told_how_to_write_one(holdfast):
    said = holdfast("worker", "shop:app", "--lane", "urgent").misuse

    assert "write a queue and its slots, as in --lane urgent=2" in said
