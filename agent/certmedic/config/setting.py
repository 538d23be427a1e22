"""A row of the configuration's table: how a field of a section is written as a key, and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a key is read. `parse` raises ValueError with what is allowed; `default` is as in TOML, None if unset."""

    parse: Callable[[Any], Any]
    default: Any
    name: str  # below the section; "" is the name of the field; "*" stands for each word of `each`
    each: Sequence[str] = ()

    def keys(self, key: str) -> dict[str, str]:
        """Return word -> key as people write it; the word is "" for a key without "*"."""
        return {word: key.replace("*", word) for word in self.each or ("",)}


def setting(default: Any, parse: Callable[[Any], T], name: str = "") -> T:
    """Declare a field of a section as one key."""
    value: Any = None if default is None else parse(default)
    row: T = field(default=value, metadata={"setting": Setting(parse=parse, default=default, name=name)})
    return row


def setting_of_each(
    each: Sequence[str], default: Mapping[str, Any], parse: Callable[[Any], T], name: str
) -> Mapping[str, T]:
    """Declare a field of a section as one key for each word: word -> value."""
    value = {word: parse(default[word]) for word in default}
    row = Setting(parse=parse, default=default, name=name, each=each)
    return field(default_factory=lambda: value, metadata={"setting": row})


def settings(section: Any, prefix: str = "") -> Iterator[tuple[str, str, Setting]]:
    """Yield (key, "Section.field", row) for a section and for the sections in it, in order."""
    for item in fields(section):
        if row := item.metadata.get("setting"):
            yield prefix + (row.name or item.name), f"{section.__name__}.{item.name}", row
        else:
            yield from settings(item.default_factory, f"{item.name}.")


def build(section: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Return a section with the parsed values, by key, and with the defaults of all other keys."""
    arguments: dict[str, Any] = {}
    for item in fields(section):
        row = item.metadata.get("setting")
        if row is None:
            arguments[item.name] = build(item.default_factory, values, f"{item.name}.")
            continue
        keys = row.keys(prefix + (row.name or item.name))
        given = {word: values[key] for word, key in keys.items() if key in values}
        if row.each:
            arguments[item.name] = getattr(section(), item.name) | given
        elif given:
            arguments[item.name] = given[""]
    return section(**arguments)
