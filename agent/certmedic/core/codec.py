"""The values of `model` as JSON, and back. A later version reads the JSON of an earlier one."""

from __future__ import annotations

import base64
import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache, partial
from typing import Any, TypeVar

T = TypeVar("T")


_PLAIN = (str, int, float, bool, types.NoneType)
_Maker = Callable[[Any], Any]


def plain(value: Any) -> Any:
    """Return a value of `model` as JSON has it: dicts, lists, strings, numbers."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if (names := _names(typing.cast("Any", kind))) is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """Return the names of the fields of a dataclass; None for any other type."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def dump(value: Any) -> str:
    """Return a value of `model` as JSON."""
    return json.dumps(plain(value), ensure_ascii=False)


@cache
def _fields(kind: type) -> Mapping[str, _Maker]:
    hints = typing.get_type_hints(kind)
    return {f.name: _maker(hints[f.name]) for f in dataclasses.fields(kind) if f.init}


def _object(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise TypeError(f"an object was expected, not {type(raw).__name__}")
    return raw


def _same(raw: Any) -> Any:
    return raw


@cache
def _maker(hint: Any) -> _Maker:
    """Return what makes a value of a type. The type is looked at once, not for each value."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        some = _maker(next(argument for argument in arguments if argument is not types.NoneType))
        return lambda raw: None if raw is None else some(raw)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        makers = [_maker(argument) for argument in arguments]
        return lambda raw: tuple(make(item) for make, item in zip(makers, raw, strict=True))
    if origin in (tuple, frozenset):
        make = _maker(arguments[0])
        return origin if make is _same else lambda raw: origin([make(item) for item in raw])
    if origin is not None and issubclass(origin, Mapping):
        each = _maker(arguments[1])
        return lambda raw: {key: each(item) for key, item in _object(raw).items()}
    if dataclasses.is_dataclass(hint):
        return partial(_dataclass, typing.cast("type", hint))
    if hint is datetime:
        return datetime.fromisoformat
    if hint is bytes:
        return base64.b64decode
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    return _same


def _dataclass(kind: type[T], raw: Any) -> T:
    known = _fields(typing.cast("Any", kind))
    # Skip fields that this version does not know: after a downgrade the rest is still read.
    return kind(**{name: known[name](item) for name, item in _object(raw).items() if name in known})


def load(kind: type[T], text: str) -> T:
    """Return the value of `kind` that `dump` wrote. Raises ValueError, KeyError or TypeError on any other text."""
    try:
        return made(kind, json.loads(text))
    except RecursionError:
        raise ValueError("the text is nested too deeply") from None


def made(kind: type[T], raw: Any) -> T:
    """Return the value of `kind` of which `plain` made `raw`. Raises ValueError, KeyError or TypeError on anything else."""
    return typing.cast("T", _maker(typing.cast("Any", kind))(raw))
