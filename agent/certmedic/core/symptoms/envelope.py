"""Unwrapping: from a line of a log to the message that a program wrote.

    k3s[1773]: {"level":"warn","msg":"rejected connection","error":"remote error: ..."}
    -> Unwrapped(message="rejected connection: remote error: ...", pairs={...}, program="k3s")

Envelopes nest: Docker's JSON around klog, syslog around zap, compose around capnslog. Each pass of `unwrap` removes the
outermost envelope, until none is left. Every pattern is anchored or possessive, so the work grows linearly with the length
of the line. A cut line is read up to the cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from certmedic.core.regex import regex

LAYERS: Final = 8  # envelopes; real lines have four at most
DEPTH: Final = 5  # of JSON objects within a JSON object
PAIRS: Final = 64

DECODER: Final = json.JSONDecoder(strict=False)  # strict would refuse a tab within a string

MESSAGE_KEYS: Final = ("msg", "message", "MESSAGE", "@message", "log", "M", "textPayload", "event")
ERROR_KEYS: Final = ("error", "err", "errmsg", "error.message", "reason", "exception")
# Keys of a structured log that describe the entry, not the event.
ENTRY_KEYS: Final = frozenset(
    ("ts", "time", "level", "caller", "logger", "stacktrace", "stream", "@timestamp", "timestamp", "severity", "v")
)

STAMP: Final = r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?Z| ?[+-]\d\d:?\d\d)?"
LEVELS: Final = r"(?:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|PANIC|debug|info|notice|warn|warning|error|fatal|panic)"

CRI: Final = regex(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) std(?:out|err) [FP](?: |$)")
CAPNSLOG: Final = regex(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [A-Z] \| ")
# The month as the machine's own language shortens it: Mar, août, Mär., 11月.
MONTH_DAY: Final = r"(?:[A-Z][a-z]{2} )?(?:[^\W\d_]{3,5}\.?|\d{1,2}月)\s{1,4}\d{1,2}\s\d\d:\d\d:\d\d(?:\.\d+)?\s"
# A program's name without a pid counts only behind syslog's date, which has no year.
SYSLOG: Final = regex(
    rf"(?:<\d{{1,3}}>)?(?:{MONTH_DAY}|(?P<iso>(?:1 )?{STAMP}\s|{MONTH_DAY}\d{{4}}\s))"
    r"(?:[a-z0-9]+\.[a-z]+\s|\S{1,255}\s{1,4})(?P<program>[^\s\[\]:\"={}|]{1,64})(?(iso)\[\d+\]|(?:\[\d+\])?):\s"
)
# The later form of syslog (RFC 5424): priority, version, date, host, program, pid, kind, data in brackets.
SYSLOG_2009: Final = regex(
    r"<\d{1,3}>1 \S{1,64} \S{1,255} (?:-|(?P<program>\S{1,48})) \S{1,128} \S{1,32} (?:-|\[[^\]\n]{0,1000}\]) "
)
DATED: Final = regex(rf"(?:{MONTH_DAY}(?:\d{{4}}\s)?|\[?{STAMP}\]?[\s:]\s*|\[\s*\d+\.\d+\] )")
KERNEL: Final = regex(r"\[\s*\d+\.\d+\] (?P<program>[^\s\[\]:]{1,64})\[\d+\]: ")
BARE: Final = regex(r"(?P<program>[A-Za-z][\w./@-]{1,63})\[\d+\]: ")
KLOG: Final = regex(r"[IWEF]\d{4}(?:\d\d)? \d\d:\d\d:\d\d\.\d+\s+\d+ (?:\(\w+\) )?[\w./@+-]{1,200}:\d+(?:\] ?|\s+)")
SOURCE: Final = regex(r"(?:\d+ )?[\w./@+-]{1,200}\.go:\d+(?:\]|:) ")
EXPORT: Final = regex(r"MESSAGE=")  # the journal's export format
GRPC: Final = regex(r"(?:WARNING|ERROR|INFO): (?=\d{4}/)")
COMPOSE: Final = regex(r"(?:\d\d:\d\d:\d\d )?(?P<program>[A-Za-z][\w.@/-]{1,80})\s{1,40}\| ")
LEVEL: Final = regex(
    rf"(?:\[{LEVELS}\](?:\s+|: )|{LEVELS}\t+|(?:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|PANIC)(?:\s+|: +))"
    r"(?:[\w/.-]{1,100}\.(?:go|rs):\d+:?\s+)?"
)
PREFIXES_OF_NUMBERS: Final = (CRI, CAPNSLOG, SYSLOG, SYSLOG_2009, KERNEL, DATED, COMPOSE, SOURCE, LEVEL)
PREFIXES_OF_WORDS: Final = (EXPORT, KLOG, SYSLOG, BARE, GRPC, COMPOSE, DATED, SOURCE, LEVEL)
PINGCAP: Final = regex(rf"\[{STAMP}\] \[[A-Z]+\] \[")
PINGCAP_FIELD: Final = regex(r"\[((?:\"(?:[^\"\\]|\\.)*+\"?|[^\]\"])*+)\]?")
ANSI: Final = regex(r"\x1b\[[0-9;]{0,16}[A-Za-z]")

STRING: Final = regex(r'"((?:[^"\\]|\\.)*+)("?)')
# The look-behind keeps the search from starting again at every letter of a long word.
LOGFMT: Final = regex(r'(?<![\w.@/-])([\w.@/-]{1,64})=(?:"((?:[^"\\]|\\.)*+)"?|(\[[^\]"]{0,200}\]|[^\s"]*))')
STRUCTURED: Final = regex(r'"((?:[^"\\]|\\.)*+)"(?= [\w."-]{1,64}=)')
QUOTED_KEY: Final = regex(r'"([\w.-]{1,64})"(?==)')
DOCKER_TAILS: Final = ('","stream":"', '","time":"')
ESCAPES: Final = regex(r'(?<!\\)\\++(?=["\'`])|\\[nrt](?![\w\\])|\\u00([0-7][0-9a-f])')


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A message without its envelopes; the envelopes state `pairs` and `program`."""

    message: str
    pairs: Mapping[str, str]
    program: str


def unwrap(line: str) -> Unwrapped:
    """Remove every envelope. Never raises; the result may hold control characters."""
    text, pairs, program = line, dict[str, str](), ""
    if "\x1b" in text:
        text = ANSI.sub("", text)
    if "\\x5c" in text:  # journalctl and the kernel escape a backslash this way
        text = text.replace("\\x5c", "\\")
    for _ in range(LAYERS):
        text = text.strip()
        if not text:
            break
        inner, more, name = _peel(text)
        program = program or name
        if more:
            pairs.update(more)
        if inner == text:
            break
        text = inner
    return Unwrapped(message=unescape(text).replace("\n", " ").replace("\r", " "), pairs=pairs, program=program)


def unescape(text: str) -> str:
    """Remove every level of escaping: an escaped quote becomes a quote, an escaped line end a blank."""
    return ESCAPES.sub(_escaped, text) if "\\" in text else text


def _escaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code:
        return chr(int(code, 16))
    return " " if match.group()[-1] in "nrt" else ""


def _peel(text: str) -> tuple[str, Mapping[str, str], str]:
    """Remove the outermost envelope: returns its content, its pairs and the program that it names."""
    first = text[0]
    if first == "{":
        return _object(text)
    if first == '"':
        return _quoted(text)
    if first == "[" and PINGCAP.match(text):
        return _pingcap(text)
    for envelope in PREFIXES_OF_WORDS if first.isalpha() else PREFIXES_OF_NUMBERS:
        match = envelope.match(text)
        if match:
            return text[match.end() :], {}, match.groupdict().get("program") or ""
    return _carried(text)


def _carried(text: str) -> tuple[str, Mapping[str, str], str]:
    """Read data that follows the message: logfmt, or a JSON object at its end."""
    if 'msg="' in text or "msg=" in text[:160]:
        pairs = _logfmt(text)
        message = pairs.pop("msg", "")
        if message:
            return _joined(message, pairs), pairs, ""
    for tail in DOCKER_TAILS:
        end = text.find(tail)
        if end > 0:
            return text[:end], {}, ""
    at = text.find('{"')
    if at > 0 and (text[at - 1].isspace() or text.endswith("}")):
        pairs = _flat(_load(text[at:]))
        if pairs:
            return _joined(text[:at].rstrip(), pairs), pairs, ""
    if '","' in text and '":"' in text and text.count('"') > 4:  # a piece cut out of a JSON object
        pairs = _scanned('"' + text)
        if any(key in pairs for key in ERROR_KEYS):
            return _joined(text.partition('"')[0].strip(" ."), pairs), pairs, ""
    return text, {}, ""


def _object(text: str) -> tuple[str, Mapping[str, str], str]:
    loaded = _load(text)
    program = ""
    if isinstance(loaded, dict) and "MESSAGE" in loaded:  # a journal entry: its other fields describe the writer
        for key in ("SYSLOG_IDENTIFIER", "_COMM"):
            if isinstance(loaded.get(key), str):
                program = program or str(loaded[key])
        message = loaded["MESSAGE"]
        if isinstance(message, list):  # journalctl writes a message that is not UTF-8 as numbers
            message = bytes(byte for byte in message if isinstance(byte, int) and 0 <= byte < 256).decode(
                errors="replace"
            )
        return (message if isinstance(message, str) and message.strip() else " "), {}, program
    if isinstance(loaded, dict) and isinstance(loaded.get("log"), str) and loaded["log"].strip():
        return loaded["log"], {}, ""
    pairs = _flat(loaded) or _scanned(text)
    for key in MESSAGE_KEYS:
        message = pairs.pop(key, "")
        if message:
            return _joined(message, pairs), pairs, ""
    if len(pairs) > 1 and any(key in pairs for key in ERROR_KEYS):
        return _joined("", pairs), pairs, ""
    return text.lstrip("{") or " ", {}, ""


def _quoted(text: str) -> tuple[str, Mapping[str, str], str]:
    """Read a line that begins with a quote: klog's structured form without its head, or a piece of a JSON object."""
    value, whole = _load_whole(text)
    if whole and isinstance(value, str):
        return value or " ", {}, ""
    match = STRUCTURED.match(text)
    if match:
        rest = QUOTED_KEY.sub(r"\1", text[match.end() :])
        pairs = _logfmt(rest)
        return _joined(unescape(match.group(1)), pairs), pairs, ""
    if '":' in text:
        pairs = _scanned(text)
        lone = STRING.match(text)
        head = "" if lone is None or text[lone.end() : lone.end() + 1] == ":" else lone.group(1)
        message = head or next((pairs[key] for key in MESSAGE_KEYS if pairs.get(key)), "")
        if message or any(key in pairs for key in ERROR_KEYS):
            return _joined(message, pairs), pairs, ""
    return text.lstrip('"') or " ", {}, ""


def _pingcap(text: str) -> tuple[str, Mapping[str, str], str]:
    """Read the unified log format of PD and TiDB: bracketed time, level, source, message, key=value."""
    pairs, message = dict[str, str](), ""
    for place, match in enumerate(PINGCAP_FIELD.finditer(text)):
        if place < 3:
            continue
        key, equals, value = match.group(1).partition("=")
        if equals and not key.startswith('"'):
            pairs[key] = unescape(value.strip('"'))
        else:
            message = message or unescape(match.group(1).strip('"'))
        if place > PAIRS:
            break
    return _joined(message, pairs) or " ", pairs, ""


def _joined(message: str, pairs: Mapping[str, str]) -> str:
    """Return the message and, after a colon, the error that came beside it."""
    for key in ERROR_KEYS:
        error = pairs.get(key, "")
        if error and error not in message:
            return f"{message}: {error}" if message else error
    return message


def _load(text: str) -> object:
    """Read the JSON value at the beginning of a text; None if there is none."""
    try:
        return DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _load_whole(text: str) -> tuple[object, bool]:
    """Read a JSON value; also returns whether the text holds nothing else."""
    try:
        value, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None, False
    return value, end == len(text)


def _flat(loaded: object) -> dict[str, str]:
    return dict(_strings(loaded, "", DEPTH)) if isinstance(loaded, dict) else {}


def _strings(value: object, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if key and key not in ENTRY_KEYS:
            yield key, value
    elif isinstance(value, dict) and depth:
        for name, inner in list(value.items())[:PAIRS]:
            yield from _strings(inner, str(name), depth - 1)
    elif isinstance(value, list) and depth:
        texts = [inner for inner in value[:PAIRS] if isinstance(inner, str)]
        if texts:
            yield key, ", ".join(texts)
        for inner in value[:PAIRS]:
            if isinstance(inner, dict):
                yield from _strings(inner, key, depth - 1)


def _scanned(text: str) -> dict[str, str]:
    """Read the pairs of strings from a JSON object that was cut at either end."""
    pairs = dict[str, str]()
    key = ""
    for place, match in enumerate(STRING.finditer(text)):
        if text.startswith(":", match.end()):
            key = match.group(1)
        elif key:
            if key not in ENTRY_KEYS:
                pairs[key] = _decoded(match.group(1))
            key = ""
        if place >= 4 * PAIRS:
            break
    return pairs


def _decoded(inner: str) -> str:
    """Decode a JSON string, even if it was cut within an escape."""
    if "\\" not in inner:
        return inner
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError:
        return unescape(inner)


def _logfmt(text: str) -> dict[str, str]:
    pairs = dict[str, str]()
    for place, match in enumerate(LOGFMT.finditer(text)):
        key, quoted, bare = match.groups()
        if key not in ENTRY_KEYS:
            pairs[key] = bare if quoted is None else _decoded(quoted)
        if place >= PAIRS:
            break
    return pairs
