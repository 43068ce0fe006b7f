"""From ``package.module:app`` on a command line to the App it names; what goes wrong says how to mend it."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, UsageError, nearest

if TYPE_CHECKING:
    from holdfast.app import App

EXAMPLE = "write package.module:app, for example shop.jobs:app for the App called app in shop/jobs.py"


def find_app(name: str) -> App:
    """Import the module before the colon, with the current directory on the path, and return the App after it.

    ``UsageError`` says what to write instead.
    """
    module_name, colon, attribute = name.partition(":")
    _check_name(name, module_name, colon, attribute)
    module = _imported(name, module_name)
    return _app_in(module, attribute)


def _check_name(name: str, module_name: str, colon: str, attribute: str) -> None:
    if module_name.endswith(".py") or os.sep in module_name:
        dotted = module_name.removesuffix(".py").replace(os.sep, ".").strip(".")
        raise UsageError(f"{name!r} names a file; name the module: {dotted}:{attribute or 'app'}")
    if not colon or not attribute:
        where = module_name or "package.module"
        raise UsageError(f"{name!r} does not say which App: {EXAMPLE} (perhaps {where}:app)")
    if not all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]):
        raise UsageError(f"{name!r} cannot be imported: {EXAMPLE}")


def _imported(name: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _broken(module_name, error) from error
        raise UsageError(_no_module(name, error.name, here)) from error
    except SystemExit as error:
        raise UsageError(
            f"importing {module_name!r} ended the program; put what only a script should do under "
            "if __name__ == '__main__':"
        ) from error
    except Exception as error:
        raise _broken(module_name, error) from error


def _no_module(name: str, missing: str, here: str) -> str:
    package, _, leaf = missing.rpartition(".")
    folder = Path(here, *package.split(".")) if package else Path(here)
    found = [path.stem for path in folder.glob("*.py")] + [path.parent.name for path in folder.glob("*/__init__.py")]
    return (
        f"{name!r}: there is no module {missing!r}{nearest(leaf, found)} in {here} or the environment; "
        "start holdfast where your package lies, or install it"
    )


def _broken(module_name: str, error: Exception) -> UsageError:
    """Say where in the user's own code the import failed."""
    place = f" at {error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else _place(error)
    kind = "" if isinstance(error, HoldfastError) else f"{type(error).__name__}: "
    hint = "; install it into this environment" if isinstance(error, ModuleNotFoundError) else ""
    return UsageError(f"importing {module_name!r} failed{place}: {kind}{error}{hint}")


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    files = [frame for frame in frames if frame.filename.endswith(".py")]
    last = next((frame for frame in reversed(files) if not Path(frame.filename).is_relative_to(_PACKAGE)), None)
    return "" if last is None else f" at {last.filename}:{last.lineno}"


_PACKAGE = Path(__file__).parents[1]


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
