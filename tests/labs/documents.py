"""Write the texts that other files determine: `./dev generate`.

The table of configuration keys determines the sample file below its head, and the parts of the manual page and README between
"generated" and "end of generated". The rules and the dashboard determine the objects of Kubernetes that hold them.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from certmedic.config import Config, schema
from certmedic.config.setting import settings
from labs import AGENT, monitoring

ROOT = AGENT.parent
WIDTH = 132  # length of a line with a comment at its end
COLUMN = 40  # column of that comment


class Row(NamedTuple):
    """The documentation of a key."""

    section: str  # "" at the top level
    name: str  # within its section
    default: Any  # in TOML; None: unset
    comment: str
    example: str
    more: list[str]  # paragraphs


def rows() -> list[Row]:
    """Return every key, in the order of the table."""
    classes = [node for node in ast.parse(inspect.getsource(schema)).body if isinstance(node, ast.ClassDef)]
    texts = {
        f"{section.name}.{field.target.id}": inspect.cleandoc(str(text.value.value))
        for section in classes
        for field, text in zip(section.body, section.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    listed = []
    for key, field, setting in settings(Config):
        first, *more = (" ".join(paragraph.split()) for paragraph in texts[field].split("\n\n"))
        comment, _, example = first.partition(" Example: ")
        section, name = key.split(".", 1) if "." in key else ("", key)
        default = None if setting.default == {} else setting.default
        listed.append(Row(section, name.removesuffix(".*"), default, comment, example, more))
    return listed


def toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


def block(mark: str) -> str:
    """Return each key and its comment. `mark` precedes defaults, and # the example of an unset key."""
    lines = []
    names = {f"{row.section}.{row.name}" for row in rows()}
    shown = [row for row in rows() if f"{row.section}.{row.name.rpartition('.')[0]}" not in names]
    for section, keys in groupby(shown, key=lambda row: row.section):
        lines += ["", f"[{section}]"] if section else []
        for row in keys:
            line, comments = f"{mark}{row.name} = {toml(row.default)}", [row.comment]
            if row.default is None:
                line, comments = f"#{row.example}", [f"{row.comment} Unset by default."]
            elif row.example:
                comments.append(f"Example: {row.example}")
            at_end = f"{line:<{COLUMN - 1}} # {' '.join(comments)}"
            above = [f"# {text}" for comment in comments for text in textwrap.wrap(comment, WIDTH - 2)]
            lines += [at_end] if len(at_end) <= WIDTH else [*above, line]
    return "\n".join(lines) + "\n"


def roff(text: str) -> str:
    """Return a paragraph for the manual page: each sentence on a line, `code` bold, and `/paths` in italics."""

    def font(code: re.Match[str]) -> str:
        return ("\\fI" if code[1].startswith("/") else "\\fB") + code[1].replace("-", "\\-") + "\\fR"

    sentences = re.sub(r"(?<=\.) (?=[A-Z\\])", "\n", re.sub(r"`([^`]+)`", font, text))
    return re.sub(r"^(?=[.'])", r"\\&", sentences, flags=re.MULTILINE)


def manual() -> str:
    """Return the keys for the manual page."""
    lines = []
    for section, keys in groupby(rows(), key=lambda row: row.section):
        lines += [f".SS [{section}]"] if section else []
        for row in keys:
            default = "" if row.default is None else f" = `{toml(row.default)}`"
            example = f" Example: `{row.example}`." if row.example else ""
            first = " ".join([row.comment + example, *row.more[:1]])
            lines += [".TP", roff(f"`{row.name.replace('*', 'NAME')}`{default}"), roff(first)]
            for listed, group in groupby(row.more[1:], key=lambda paragraph: paragraph.startswith("- ")):
                if listed:
                    terms = [paragraph[2:].split(": ", 1) for paragraph in group]
                    lines += [".RS", *(line for term in terms for line in (".TP", *map(roff, term))), ".RE"]
                else:
                    lines += [line for paragraph in group for line in (".IP", roff(paragraph))]
    return "\n".join(lines) + "\n"


def texts() -> dict[Path, str]:
    """Return {file: its expected text}."""
    parts = {
        "packaging/certmedic.toml": (r"\n\n", r"\Z", block("#")),
        "packaging/man/certmedic.toml.5": (r'\.\\" generated.*\n', r'\.\\" end of generated', manual()),
        "README.md": (r"<!-- generated.*\n", r"\n<!-- end of generated", "\n" + textwrap.indent(block(""), "    ")),
    }
    made = {}
    for name, (begin, end, part) in parts.items():
        before, begun, rest = re.split(f"({begin})", (ROOT / name).read_text(), maxsplit=1)
        after = re.split(f"(?={end})", rest, maxsplit=1)[1]
        made[ROOT / name] = before + begun + part + after
    made[monitoring.EXAMPLES / "certmedic-rules.yaml"] = monitoring.prometheus_rule()
    made[monitoring.EXAMPLES / "grafana-configmap.yaml"] = monitoring.config_map()
    return made


if __name__ == "__main__":
    for path, text in texts().items():
        if not path.exists() or path.read_text() != text:
            print(f"written: {path.relative_to(ROOT)}")  # noqa: T201 - this is a script
            path.write_text(text)
