"""What a handler takes, read once from its signature: binds a call, makes it a struct, and calls with one again.

A call travels as one object by parameter name: ``{"user_id": 42, "template": "rich"}``. What was left out stays out,
so the default is that of the worker's code. ``*args`` and ``**kwargs`` travel under their own names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Unpack, get_args, get_origin, get_type_hints

import msgspec

from holdfast.codec import Arguments, given
from holdfast.errors import UsageError, nearest
from holdfast.tasks.depends import Dependency, signature
from holdfast.worker.context import CONTEXT, Context

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_GENERAL = (inspect.Parameter.POSITIONAL_ONLY, *_VARIABLE)


class Parameters:
    """The stored parameters of a handler; ``context`` and ``needs`` name those that the worker supplies, if any.

    ``UsageError`` names the parameter whose annotation cannot be resolved.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        declared = signature(function)
        self.context = _context(declared)
        self.needs = _needs(declared)
        self._supplied = {self.context, *(name for name, _ in self.needs)}
        self._function = function
        stored = [parameter for name, parameter in declared.parameters.items() if name not in self._supplied]
        self.stored = tuple(stored)
        self._signature = declared.replace(parameters=stored, return_annotation=inspect.Signature.empty)
        self.hints = {parameter.name: _hint(function, parameter) for parameter in stored}
        self._general = any(parameter.kind in _GENERAL for parameter in stored)
        self.struct = _struct(function.__name__, stored, self.hints, general=self._general)
        self.bind: Callable[..., Arguments] = self._bind if self._general else self.struct
        """Turns a call into a struct; ``TypeError`` when it does not fit. Types are not looked at."""
        self.call: Callable[[Arguments, Mapping[str, Any]], Any] = self._call if self._general else self._call_by_name
        """Calls the handler with a struct, and with what the worker supplies by name."""

    def misfit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Say why this call does not fit, for a call that ``bind`` refused."""
        if supplied := [name for name in kwargs if name in self._supplied]:
            return f"{supplied[0]!r} is supplied by the worker and never sent; leave it out"
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            said = self._unexpected(kwargs) or str(error)
            return f"{said}; it takes {self._signature}"
        return f"the arguments do not fit {self._signature}"

    def _unexpected(self, kwargs: Mapping[str, Any]) -> str:
        """Name the first keyword that no parameter takes: what else is missing is most likely what it should be."""
        known = self._signature.parameters
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
            return ""
        unknown = next((name for name in kwargs if name not in known), None)
        return "" if unknown is None else f"got an unexpected keyword argument {unknown!r}{nearest(unknown, known)}"

    def _bind(self, *args: Any, **kwargs: Any) -> Arguments:
        return self.struct(**self._signature.bind(*args, **kwargs).arguments)

    def _call_by_name(self, arguments: Arguments, supplied: Mapping[str, Any]) -> Any:
        return self._function(**given(arguments), **supplied)

    def _call(self, arguments: Arguments, supplied: Mapping[str, Any]) -> Any:
        bound = inspect.BoundArguments(self._signature, given(arguments))
        if any(parameter.kind in _VARIABLE for parameter in self._signature.parameters.values()):
            bound.apply_defaults()  # or else what comes after an omitted argument would move into its place
        return self._function(*bound.args, **bound.kwargs, **supplied)


def result_type(function: Callable[..., Any]) -> Any:
    """Return the resolved return annotation, ``Any`` without one; ``UsageError`` when it does not resolve."""
    annotation = signature(function).return_annotation
    return Any if annotation is inspect.Signature.empty else _resolve(function, annotation)


def changed(sent: Any, received: Any) -> str | None:
    """Say how what the worker receives differs from what was sent, or None when it means the same.

    Lists and tuples are alike, since a ``Sequence`` takes both. Equality of two objects whose class has none of its
    own says nothing, and neither does that of an object that is not equal to itself.
    """
    if sent == received:
        return None
    if isinstance(sent, (list, tuple)) and isinstance(received, (list, tuple)) and len(sent) == len(received):
        return next((text for pair in zip(sent, received, strict=True) if (text := changed(*pair))), None)
    if isinstance(sent, dict) and isinstance(received, dict) and sent.keys() == received.keys():
        return next((text for key in sent if (text := changed(sent[key], received[key]))), None)
    if type(sent) is type(received):
        blind = _has_no_equality(type(sent)) or sent != sent  # noqa: PLR0124 - this is how NaN is recognised
        return None if blind else f"this {type(sent).__name__} does not come back equal"
    return f"the worker would receive {_kind(received)} in place of {_kind(sent)}; annotate it with its type"


def _has_no_equality(type_: Any) -> bool:
    return bool(type_.__eq__ is object.__eq__)


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.40}"


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put what it is about before the text of a ``UsageError``."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{what}: {error}") from error


# -- reading the signature -------------------------------------------------------------------------------------


def _context(signature: inspect.Signature) -> str | None:
    """Return the name of the parameter that receives the context."""
    for parameter in signature.parameters.values():
        if parameter.default is CONTEXT:
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                raise UsageError(f"parameter {parameter.name!r}: write it after a *, so that no call can reach it")
            return parameter.name
        if parameter.annotation in (Context, "Context"):
            raise UsageError(f"parameter {parameter.name!r}: a Context is supplied through a default: = CONTEXT")
    return None


def _needs(signature: inspect.Signature) -> tuple[tuple[str, Dependency], ...]:
    """Return the parameters that are dependencies, in their order."""
    needs = [parameter for parameter in signature.parameters.values() if isinstance(parameter.default, Dependency)]
    for parameter in needs:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise UsageError(f"parameter {parameter.name!r}: write it after a *, so that no call can reach it")
    return tuple((parameter.name, parameter.default) for parameter in needs)


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    hint: Any = Any
    if parameter.annotation is not inspect.Parameter.empty:
        with naming(f"parameter {parameter.name!r}"):
            hint = _resolve(function, parameter.annotation)
    return _gathered(hint, parameter.kind) if parameter.kind in _VARIABLE else hint


def _resolve(function: Callable[..., Any], annotation: Any) -> Any:
    """Evaluate one annotation where the function was written."""
    alone: Any = SimpleNamespace(__annotations__={"it": annotation})  # so that a bad one does not spoil the others
    try:
        return get_type_hints(alone, getattr(inspect.unwrap(function), "__globals__", {}), include_extras=True)["it"]
    except Exception as error:  # an annotation is code
        raise UsageError(
            f"its annotation {annotation!r} cannot be resolved ({error}); "
            "what it names must exist at module level when the task is declared, not only for type checkers"
        ) from error


def _gathered(hint: Any, kind: Any) -> Any:
    """Return the type of all values of ``*args`` or ``**kwargs`` together."""
    if get_origin(hint) is Unpack:
        return get_args(hint)[0]
    return tuple[hint, ...] if kind is inspect.Parameter.VAR_POSITIONAL else dict[str, hint]


def _struct(
    name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any], *, general: bool
) -> type[Arguments]:
    """Make the struct of these parameters. By keyword alone comes first: msgspec moves it behind the positional."""
    by_position: list[Any] = []
    by_keyword: list[Any] = []
    for parameter in parameters:
        optional = parameter.default is not inspect.Parameter.empty or parameter.kind in _VARIABLE
        field = (parameter.name, hints[parameter.name], *([msgspec.UNSET] if optional else []))
        (by_position if parameter.kind in _BY_POSITION and not general else by_keyword).append(field)
    bases = (_make(name, by_keyword, (Arguments,), kw_only=True),) if by_keyword else (Arguments,)
    return _make(name, by_position, bases, kw_only=False)


def _make(name: str, fields: list[Any], bases: tuple[type, ...], *, kw_only: bool) -> type[Arguments]:
    # Tracked by no garbage collector: arguments live for one send or one run, and cycles cannot be encoded.
    made = msgspec.defstruct(name, fields, bases=bases, kw_only=kw_only, forbid_unknown_fields=True, gc=False)
    return made if issubclass(made, Arguments) else Arguments
