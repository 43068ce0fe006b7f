"""What marks a parameter as a dependency, and what is read from its provider's signature."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator

# What the decorators of contextlib return. The general types would take any object with such methods for one of
# these: a lock, of which `with` yields a bool, or a connection.
from contextlib import _AsyncGeneratorContextManager, _GeneratorContextManager, asynccontextmanager, contextmanager
from typing import Any, Literal, TypeVar, get_args, overload

import msgspec

from holdfast.errors import UsageError
from holdfast.worker.context import CONTEXT, Context

T = TypeVar("T")

Scope = Literal["job", "worker", "app"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class Dependency(msgspec.Struct, frozen=True):
    """The default of a parameter that is filled with what ``provider`` makes."""

    provider: Callable[..., Any]
    scope: Scope = "job"


@overload
def Depends(provider: Callable[..., _GeneratorContextManager[T]], /, *, scope: Scope = "job") -> T: ...
@overload
def Depends(provider: Callable[..., _AsyncGeneratorContextManager[T]], /, *, scope: Scope = "job") -> T: ...
@overload
def Depends(provider: Callable[..., Coroutine[Any, Any, T]], /, *, scope: Scope = "job") -> T: ...
@overload
def Depends(provider: Callable[..., AsyncIterator[T]], /, *, scope: Scope = "job") -> T: ...
@overload
def Depends(provider: Callable[..., Iterator[T]], /, *, scope: Scope = "job") -> T: ...
@overload
def Depends(provider: Callable[..., T], /, *, scope: Scope = "job") -> T: ...
def Depends(provider: Callable[..., Any], /, *, scope: Scope = "job") -> Any:
    """Return the default of a keyword-only parameter that is filled with what ``provider`` makes.

    ``provider`` is a function, a coroutine function, or either with one ``yield``, whose rest is the cleanup (also
    as ``contextlib`` decorates it). Its own parameters may have ``Depends`` as their default, and ``CONTEXT``. It
    is called once for a run, a worker or the App, as ``scope`` says; what it depends on lives as long as it does.
    ``UsageError`` when it is not callable or the scope is unknown.
    """
    if not callable(provider) or not isinstance(provider, Hashable):
        raise UsageError(f"Depends takes the function that makes the value, not {provider!r:.80}")
    if scope not in SCOPES:
        raise UsageError(f"the scope of a dependency is one of {', '.join(SCOPES)}, not {scope!r}")
    return Dependency(provider, scope)


class Form(enum.Enum):
    """What a provider's call returns."""

    VALUE = "the value"
    AWAITED = "what is awaited for the value"
    MANAGED = "a context manager"
    ASYNC_MANAGED = "an async context manager"


class Provider(msgspec.Struct, frozen=True, eq=False):
    """How a value is made: by calling ``make`` with what it ``needs`` by name, and with the context if it wants it.

    ``plain`` tells that neither it nor anything it needs must be awaited.
    """

    function: Callable[..., Any]
    scope: Scope
    make: Callable[..., Any]
    form: Form
    needs: tuple[tuple[str, Dependency], ...]
    context: str | None

    @property
    def name(self) -> str:
        """What errors call it."""
        return called(self.function)

    @property
    def is_async(self) -> bool:
        """Whether its own call must be awaited."""
        return self.form in (Form.AWAITED, Form.ASYNC_MANAGED)


def called(function: Callable[..., Any]) -> str:
    """Return what errors call a function."""
    return str(getattr(function, "__qualname__", None) or repr(function))


def read(function: Callable[..., Any], scope: Scope) -> Provider:
    """Read a provider; ``UsageError`` names the parameter that nothing would fill, or what its scope cannot have."""
    needs: list[tuple[str, Dependency]] = []
    context: str | None = None
    for parameter in _parameters(function):
        if isinstance(parameter.default, Dependency):
            needs.append((parameter.name, _lasting(parameter.default, scope)))
        elif parameter.default is CONTEXT:
            context = parameter.name
        elif parameter.default is parameter.empty and parameter.kind not in _VARIABLE:
            wanted = "CONTEXT" if parameter.annotation in (Context, "Context") else "Depends(…), CONTEXT or a value"
            raise UsageError(
                f"provider {called(function)}: nothing would fill its parameter {parameter.name!r}; "
                f"give it a default: {wanted}"
            )
    if context is not None and scope != "job":
        raise UsageError(f"provider {called(function)} asks for the job, but is made for the whole {scope}")
    make, form = _form(function)
    if scope == "app" and form in (Form.AWAITED, Form.ASYNC_MANAGED):
        raise UsageError(f"provider {called(function)} is async and belongs to a worker's loop: scope='worker'")
    return Provider(function, scope, make, form, tuple(needs), context)


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature; annotations may name what is there for type checkers only."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = list(signature(function).parameters.values())
    except ValueError:  # some of C's own have no signature, and need no arguments
        return []
    for parameter in parameters:
        injected = isinstance(parameter.default, Dependency) or parameter.default is CONTEXT
        if injected and parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(f"provider {called(function)}: parameter {parameter.name!r} is filled by name: drop the /")
    return parameters


def _lasting(need: Dependency, scope: Scope) -> Dependency:
    """What is needed lives as long as what needs it."""
    if SCOPES.index(need.scope) >= SCOPES.index(scope):
        return need
    return Dependency(need.provider, scope)


def _form(function: Callable[..., Any]) -> tuple[Callable[..., Any], Form]:
    body: Any = function if inspect.isroutine(function) or inspect.isclass(function) else _call_of(function)
    if inspect.isgeneratorfunction(body):
        return contextmanager(function), Form.MANAGED
    if inspect.isasyncgenfunction(body):
        return asynccontextmanager(function), Form.ASYNC_MANAGED
    if inspect.iscoroutinefunction(body):
        return function, Form.AWAITED
    inner = inspect.unwrap(body)
    if inspect.isgeneratorfunction(inner):
        return function, Form.MANAGED
    if inspect.isasyncgenfunction(inner):
        return function, Form.ASYNC_MANAGED
    return function, Form.VALUE


def _call_of(function: Any) -> Any:
    """Return what runs when an object is called; a partial is judged by ``inspect`` itself."""
    return function if hasattr(function, "func") else function.__call__
