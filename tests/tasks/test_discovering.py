"""``app.tasks.discover``: which modules are imported, and what is said of one that cannot be."""

import sys
from pathlib import Path

import pytest

from holdfast.app import App
from holdfast.errors import UsageError

DECLARES = "import shop\n@shop.app.task(name=__name__)\ndef work() -> None: ...\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes files where imports look; what was imported from there is forgotten again."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(**sources):
        for name, source in sources.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            for folder in [folder for folder in path.parents if tmp_path in folder.parents]:
                folder.mkdir(exist_ok=True, parents=True)
                (folder / "__init__.py").touch()
            path.write_text(source)

    yield write
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def app(files):
    files(shop="from holdfast import App\napp = App('memory:')\n")
    import shop

    yield shop.app
    shop.app.close()


def test_modules_called_tasks_or_jobs_are_imported_however_deep(app, files):
    files(web__tasks=DECLARES, web__mail__jobs=DECLARES, web__mail__views="1 / 0", web__a__b__tasks=DECLARES)

    found = app.tasks.discover("web")

    assert found == ["web.a.b.tasks", "web.mail.jobs", "web.tasks"]
    assert list(app.tasks) == found


def test_a_package_that_has_none_is_not_imported(app, files):
    files(web__tasks=DECLARES, web__tests__broken="1 / 0")
    (Path(sys.path[0]) / "web" / "tests" / "__init__.py").write_text("1 / 0")

    assert app.tasks.discover("web") == ["web.tasks"]


def test_a_package_called_tasks_is_imported_with_all_its_modules(app, files):
    files(web__tasks__mail=DECLARES, web__tasks__deep__images=DECLARES)

    assert app.tasks.discover("web") == ["web.tasks", "web.tasks.deep", "web.tasks.deep.images", "web.tasks.mail"]
    assert list(app.tasks) == ["web.tasks.deep.images", "web.tasks.mail"]


def test_modules_are_chosen_by_pattern(app, files):
    files(web__mail_work=DECLARES, web__image_work=DECLARES, web__tasks="1 / 0")

    assert app.tasks.discover("web", modules="*_work") == ["web.image_work", "web.mail_work"]


def test_every_module_is_one_pattern_but_none_that_is_a_program(app, files):
    files(web__a=DECLARES, web__b__c=DECLARES)
    (Path(sys.path[0]) / "web" / "__main__.py").write_text("raise SystemExit")

    assert app.tasks.discover("web", modules=["*"]) == ["web.a", "web.b", "web.b.c"]


def test_a_module_by_its_own_name_is_imported(app, files):
    files(web__handlers=DECLARES)

    assert app.tasks.discover("web.handlers") == ["web.handlers"]


def test_discovering_again_changes_nothing(app, files):
    files(web__tasks=DECLARES)
    app.tasks.discover("web")

    assert app.tasks.discover("web", "web.tasks") == ["web.tasks", "web.tasks"]
    assert list(app.tasks) == ["web.tasks"]


def test_a_module_that_cannot_be_imported_is_named_with_its_line(app, files):
    files(web__mail__tasks="\n1 / 0\n")

    with pytest.raises(UsageError, match=r"importing 'web.mail.tasks' failed at .*tasks\.py:2: ZeroDivisionError"):
        app.tasks.discover("web")


def test_a_module_that_needs_what_is_not_installed_is_named(app, files):
    files(web__tasks="import nowhere_to_be_found")

    with pytest.raises(UsageError, match=r"'web.tasks' failed .* No module named 'nowhere_to_be_found'; install it"):
        app.tasks.discover("web")


@pytest.mark.parametrize(("name", "missing"), [("wbe", "wbe"), ("web.nothing", "web.nothing"), ("wbe.tasks", "wbe")])
def test_a_package_that_is_not_there_is_named(app, files, name, missing):
    files(web__tasks=DECLARES)

    with pytest.raises(UsageError, match=f"there is no module '{missing}'"):
        app.tasks.discover(name)


def test_a_package_without_such_modules_is_not_passed_by_quietly(app, files):
    files(web__views="")

    with pytest.raises(UsageError, match="package 'web' has no module called tasks or jobs"):
        app.tasks.discover("web")


def test_the_app_of_the_package_itself_may_discover_it_while_it_is_imported(files):
    files(store__tasks="from store import app\n@app.task(name='work')\ndef work() -> None: ...\n")
    (Path(sys.path[0]) / "store" / "__init__.py").write_text(
        "from holdfast import App\napp = App('memory:')\napp.tasks.discover(__name__)\n"
    )
    import store

    assert isinstance(store.app, App)
    assert list(store.app.tasks) == ["work"]
