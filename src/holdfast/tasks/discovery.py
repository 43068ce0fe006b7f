"""Importing the modules that declare tasks; what goes wrong in them is said with its place."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from holdfast.errors import HoldfastError, UsageError

DECLARING = ("tasks", "jobs")
"""What modules that declare tasks are called by default."""


class NoModule(UsageError):
    """There is no module of this name; ``missing`` is the first part of it that is not there."""

    def __init__(self, name: str, missing: str) -> None:
        super().__init__(f"there is no module {missing!r}{'' if missing == name else f', so not {name!r} either'}")
        self.missing = missing


def discover(packages: Sequence[str], names: str | Iterable[str]) -> list[str]:
    """Import the modules of these packages, however deep, whose last name fits one of ``names``; return which.

    See ``Registry.discover``.
    """
    patterns = (names,) if isinstance(names, str) else tuple(names)
    found: list[str] = []
    for package in packages:
        spec = _places(package)
        modules = [package] if spec is None else list(_fitting(package, spec, patterns))
        if not modules:
            raise UsageError(f"package {package!r} has no module called {' or '.join(patterns)}: nothing to discover")
        for module in modules:
            import_user_module(module)
        found += modules
    return found


def _places(package: str) -> Sequence[str] | None:
    """Return where a package's modules lie, None for a module that is no package; its parents are imported for it."""
    parent = package.rpartition(".")[0]
    if parent:
        import_user_module(parent)
    try:
        spec = find_spec(package)
    except ValueError:  # it is being imported without a spec, as __main__ is
        spec = None
    except ModuleNotFoundError:
        raise NoModule(package, package) from None
    if spec is None:
        raise NoModule(package, package)
    return spec.submodule_search_locations


def _fitting(package: str, places: Sequence[str], patterns: Sequence[str]) -> Iterator[str]:
    """Yield the names of fitting modules. A package that does not fit is looked into without importing it."""
    for one in sorted(iter_modules(places, f"{package}."), key=lambda info: info.name):
        leaf = one.name.rpartition(".")[2]
        fits = any(fnmatchcase(leaf, pattern) for pattern in patterns) and leaf != "__main__"
        if fits:
            yield one.name
        if one.ispkg and (spec := one.module_finder.find_spec(one.name, None)) is not None:
            yield from _fitting(one.name, spec.submodule_search_locations or (), ("*",) if fits else patterns)


# -- importing what users wrote -------------------------------------------------------------------------------


def import_user_module(name: str) -> ModuleType:
    """Import a module; ``NoModule`` when it is not there, ``UsageError`` with the line of the user's that failed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise NoModule(name, error.name) from error
    except SystemExit as error:
        raise UsageError(
            f"importing {name!r} ended the program; put what only a script should do under if __name__ == '__main__':"
        ) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> UsageError:
    """Say where in the user's own code the import failed."""
    place = f" at {error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else _place(error)
    kind = "" if isinstance(error, HoldfastError) else f"{type(error).__name__}: "
    hint = "; install it into this environment" if isinstance(error, ModuleNotFoundError) else ""
    return UsageError(f"importing {name!r} failed{place}: {kind}{error}{hint}")


def _place(error: Exception) -> str:
    """Say which line of the user's, or of a package of theirs, was executed last."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if _is_theirs(frame.filename)), None)
    return "" if last is None else f" at {last.filename}:{last.lineno}"


def _is_theirs(file: str) -> bool:
    path = Path(file)
    if path.suffix != ".py" or path.is_relative_to(_PACKAGE):
        return False
    return not path.is_relative_to(_STANDARD) or path.is_relative_to(_STANDARD / "site-packages")


_PACKAGE = Path(__file__).parents[1]
_STANDARD = Path(traceback.__file__).parent
