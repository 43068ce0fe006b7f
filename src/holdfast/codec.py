"""How values become bodies and come back: JSON unless chosen otherwise, checked against the annotation on the way in.

A codec never casts in silence. What was encoded comes back equal where the annotation says what it is; what does not
fit is an :class:`~holdfast.errors.Undecodable` that names the place, such as ``$.user_id``. Natively known are the
types of the standard library that have an obvious text (``datetime``, ``UUID``, ``Decimal``, ``Enum``, ``Path`` …),
dataclasses, attrs classes and msgspec structs; pydantic models are known when the program itself uses pydantic.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import msgspec

from holdfast.errors import ConfigError, Undecodable, UsageError, nearest

HEADER = "codec"
"""The header that names the codec of a body that is not JSON."""


class Arguments(msgspec.Struct):
    """The base of the structs that tasks make from their signatures; a field that is UNSET was not given."""


def given(arguments: Arguments) -> dict[str, Any]:
    """Return what was given, by parameter name."""
    pairs = zip(arguments.__struct_fields__, msgspec.structs.astuple(arguments), strict=True)
    return {name: value for name, value in pairs if value is not msgspec.UNSET}


@runtime_checkable
class Codec(Protocol):
    """Turns values into bytes and back. Implementations are stateless and may be called from any thread."""

    name: str

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as bytes; ``UsageError`` names the type that cannot be encoded."""

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        """Return a function from bytes to a value of ``type_`` that raises ``Undecodable`` for anything else.

        ``UsageError`` when no such function can exist for this type. Made once and kept: making it may be slow.
        """


class JsonCodec:
    """JSON by msgspec: readable by anything, and the fastest of the three."""

    name = "json"

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=_to_json).encode

    def encode(self, value: Any) -> bytes:
        return _encode(self._encode, value, self.name)

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        check_type(type_)
        return _strict(msgspec.json.Decoder(type_, dec_hook=_revive).decode)


class TextsCodec(JsonCodec):
    """JSON in which every value is a text, as of a form: numbers, booleans and times are made of the texts that fit."""

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        check_type(type_)
        return _strict(msgspec.json.Decoder(type_, dec_hook=_revive, strict=False).decode)


class MsgpackCodec:
    """MessagePack by msgspec: for bodies with many bytes or numbers in them."""

    name = "msgpack"

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder(enc_hook=_to_builtins).encode

    def encode(self, value: Any) -> bytes:
        return _encode(self._encode, value, self.name)

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        check_type(type_)
        return _strict(msgspec.msgpack.Decoder(type_, dec_hook=_revive).decode)


class PickleCodec:
    """Pickle: any object, and whoever may write to the store may run code in the worker. Never chosen by itself."""

    name = "pickle"

    def encode(self, value: Any) -> bytes:
        plain = given(value) if isinstance(value, Arguments) else value
        try:
            return pickle.dumps(plain, protocol=5)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{type(plain).__name__} cannot be pickled: {error}") from error

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        build = type_ if isinstance(type_, type) and issubclass(type_, Arguments) else None

        def decode(body: bytes) -> Any:
            try:
                value = pickle.loads(body)
                return value if build is None else build(**value)
            except Exception as error:  # unpickling runs the classes' own code, which may raise anything
                raise Undecodable(f"the pickle cannot be read: {type(error).__name__}: {error}") from error

        return decode


def choose(codec: str | Codec, *, allow_pickle: bool = False) -> Codec:
    """Return the codec of this name, or the codec itself; ``ConfigError`` when it is unknown or not allowed."""
    if not isinstance(codec, str):
        chosen = codec
    elif codec in BUILT_IN:
        chosen = BUILT_IN[codec]
    else:
        raise ConfigError(f"unknown codec {codec!r}{nearest(codec, BUILT_IN)}; known: {', '.join(BUILT_IN)}")
    if chosen.name == PickleCodec.name and not allow_pickle:
        raise ConfigError(
            "codec 'pickle' lets whoever can write to the store run code in the worker; "
            "if the store is yours alone, say App(…, allow_pickle=True)"
        )
    return chosen


def check_type(type_: Any) -> None:
    """Raise ``UsageError`` when values of ``type_`` could never be decoded, naming the part that stands in the way."""
    try:
        unknown = _unknown(msgspec.inspect.type_info(type_), set())
    except (TypeError, NameError, AttributeError) as error:
        raise UsageError(str(error)) from error
    if unknown is not None:
        raise UsageError(f"nothing says how to decode {_name(unknown)}{_INSTEAD.get(unknown, '')}")


# -- between msgspec and the types that it does not know -------------------------------------------------------


_INSTEAD: dict[Any, str] = dict.fromkeys((Iterable, Iterator, Generator), "; annotate it as list[…] or Sequence[…]")


def _encode(encode: Callable[[Any], bytes], value: Any, name: str) -> bytes:
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as error:
        # NotImplementedError and TypeError are msgspec's for unknown types, the others for values it cannot write.
        raise UsageError(f"cannot be encoded as {name}: {error}") from error


def _strict(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def strict(body: bytes) -> Any:
        try:
            return decode(body)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise Undecodable(str(error)) from error

    return strict


def _to_json(value: Any) -> Any:
    if _is_model(type(value)):
        return msgspec.Raw(value.model_dump_json(round_trip=True, by_alias=True).encode())
    return _to_builtins(value)


def _to_builtins(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if _is_model(type(value)):
        return value.model_dump(mode="json", round_trip=True, by_alias=True)
    raise NotImplementedError(f"objects of type {_name(type(value))} are not supported")


def _revive(type_: Any, value: Any) -> Any:
    if type_ is object:
        return value
    if issubclass(type_, PurePath):
        if isinstance(value, str):
            return type_(value)
        raise ValueError(f"Expected `{type_.__name__}` as `str`, got `{type(value).__name__}`")
    return _revive_model(type_, value)


def _revive_model(model: Any, value: Any) -> Any:
    # From JSON text, because only then does pydantic take the text of a date for a date and yet cast nothing else.
    try:
        return model.model_validate_json(msgspec.json.encode(value), strict=True)
    except ValueError as error:
        errors = getattr(error, "errors", None)
        if errors is None:
            raise
        first = errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{model.__name__}{'.' if place else ''}{place}: {first['msg']}") from error


def _is_model(type_: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(type_, type) and issubclass(type_, pydantic.BaseModel)


def _unknown(info: Any, seen: set[int]) -> Any:
    """Return the first type inside ``info`` that neither msgspec nor this module can decode, or None."""
    if id(info) in seen:
        return None
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        known = info.cls is object or _is_model(info.cls) or issubclass(info.cls, PurePath)
        return None if known else info.cls
    parts = [getattr(info, name, ()) for name in _NESTED]
    nested = [item for part in parts for item in (part if isinstance(part, tuple) else (part,))]
    return next((found for item in nested if (found := _unknown(item, seen)) is not None), None)


_NESTED = ("type", "types", "item_type", "item_types", "key_type", "value_type", "fields")
"""Where msgspec's descriptions of types hold further ones."""


def _name(type_: Any) -> str:
    return str(getattr(type_, "__qualname__", type_))


BUILT_IN: dict[str, Codec] = {codec.name: codec for codec in (JsonCodec(), MsgpackCodec(), PickleCodec())}
