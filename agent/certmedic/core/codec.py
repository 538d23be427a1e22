"""The values of `model` as JSON, and back. A later version reads the JSON of an earlier one."""

from __future__ import annotations

import base64
import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Return a value of `model` as JSON has it: dicts, lists, strings, numbers."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def dump(value: Any) -> str:
    """Return a value of `model` as JSON."""
    return json.dumps(plain(value), ensure_ascii=False)


@cache
def _fields(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def _object(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise TypeError(f"an object was expected, not {type(raw).__name__}")
    return raw


def _value(hint: Any, raw: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        rest = [argument for argument in arguments if argument is not types.NoneType]
        return None if raw is None else _value(rest[0], raw)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_value(arguments[0], item) for item in raw)
        return tuple(_value(argument, item) for argument, item in zip(arguments, raw, strict=True))
    if origin is frozenset:
        return frozenset(_value(arguments[0], item) for item in raw)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _value(arguments[1], item) for key, item in _object(raw).items()}
    if dataclasses.is_dataclass(hint):
        # Skip fields that this version does not know: after a downgrade the rest is still read.
        known = _fields(typing.cast("type", hint))
        return typing.cast("type", hint)(
            **{k: _value(known[k], item) for k, item in _object(raw).items() if k in known}
        )
    if hint is datetime:
        return datetime.fromisoformat(raw)
    if hint is bytes:
        return base64.b64decode(raw)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(raw)
    return raw


def load(kind: type[T], text: str) -> T:
    """Return the value of `kind` that `dump` wrote. Raises ValueError, KeyError or TypeError on any other text."""
    try:
        return made(kind, json.loads(text))
    except RecursionError:
        raise ValueError("the text is nested too deeply") from None


def made(kind: type[T], raw: Any) -> T:
    """Return the value of `kind` of which `plain` made `raw`. Raises ValueError, KeyError or TypeError on anything else."""
    return typing.cast("T", _value(kind, raw))
