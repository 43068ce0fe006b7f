"""From ``package.module:app`` on a command line to the App it names; what goes wrong says how to mend it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from holdfast.errors import UsageError, nearest
from holdfast.tasks.discovery import NoModule, import_user_module

if TYPE_CHECKING:
    from holdfast.app import App

EXAMPLE = "write package.module:app, for example shop.jobs:app for the App called app in shop/jobs.py"


def find_app(name: str, folder: Path | None = None) -> App:
    """Import the module before the colon, and return the App after it.

    ``folder``, by default the current directory, is looked into first. ``UsageError`` says what to write instead.
    """
    module_name, colon, attribute = name.partition(":")
    _check_name(name, module_name, colon, attribute)
    here = search(folder)
    try:
        module = import_user_module(module_name)
    except NoModule as error:
        raise UsageError(_no_module(name, error.missing, here)) from error
    return _app_in(module, attribute)


def search(folder: Path | None = None) -> str:
    """Put ``folder``, by default the current directory, where imports look first, and return it."""
    here = str(folder or Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return here


def _check_name(name: str, module_name: str, colon: str, attribute: str) -> None:
    if module_name.endswith(".py") or os.sep in module_name:
        dotted = module_name.removesuffix(".py").replace(os.sep, ".").strip(".")
        raise UsageError(f"{name!r} names a file; name the module: {dotted}:{attribute or 'app'}")
    if not colon or not attribute:
        where = module_name or "package.module"
        raise UsageError(f"{name!r} does not say which App: {EXAMPLE} (perhaps {where}:app)")
    if not all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]):
        raise UsageError(f"{name!r} cannot be imported: {EXAMPLE}")


def _no_module(name: str, missing: str, here: str) -> str:
    package, _, leaf = missing.rpartition(".")
    folder = Path(here, *package.split(".")) if package else Path(here)
    found = [path.stem for path in folder.glob("*.py")] + [path.parent.name for path in folder.glob("*/__init__.py")]
    return (
        f"{name!r}: there is no module {missing!r}{nearest(leaf, found)} in {here} or the environment; "
        "start holdfast where your package lies, or install it"
    )


def _app_in(module: ModuleType, attribute: str) -> App:
    from holdfast.app import App
    from holdfast.tasks.task import Task

    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    instead = f"the App there is {module.__name__}:{apps[0]}" if apps else f"make one there: {attribute} = App()"
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UsageError(f"module {module.__name__!r} has no {attribute!r}{nearest(attribute, apps)}; {instead}")
        value = getattr(value, part)
    if isinstance(value, App):
        return value
    described = f"the task {value.name!r}" if isinstance(value, Task) else _described(value)
    raise UsageError(f"{module.__name__}:{attribute} is {described}, not a holdfast App; {instead}")


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return f"of type {type(value).__module__}.{type(value).__qualname__}".replace("type builtins.", "type ")
