"""The addresses, names and dates that a line states, under the field names of `explain --json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from certmedic.core.regex import regex

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Java writes zones as letters. Ambiguous zones (CST, IST, BST) are left out: no date is better than a wrong date.
ZONES: Final = {
    "UTC": 0, "GMT": 0, "Z": 0, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9,
    "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip

_ISO: Final = regex(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,]\d{1,9})? ?(Z|[+-]\d\d:?\d\d|[A-Z]{3,4})?")
_WORDY: Final = regex(
    r"(?:[A-Z][a-z]{2},? )?(?:(?P<day1>\d{1,2})[ -](?P<month1>[A-Z][a-z]{2})[ -](?P<year1>\d{4}) (?P<time1>\d\d:\d\d(?::\d\d)?) (?P<zone1>[A-Z]{1,4})"
    r"|(?P<month2>[A-Z][a-z]{2})\s{1,2}(?P<day2>\d{1,2}),? (?P<time2>\d\d:\d\d:\d\d) (?:(?P<zone2>[A-Z]{1,4}) (?P<year2>\d{4})|(?P<year4>\d{4}) (?P<zone4>[A-Z]{1,4}))"
    r"|(?P<month3>[A-Z][a-z]{2}) (?P<day3>\d{1,2}), (?P<year3>\d{4}) (?P<time3>\d\d:\d\d(?::\d\d)?) (?P<zone3>[A-Z]{1,4}))"
)
_UNIX: Final = regex(r"\d{9,11}$")

# Dates as programs write them in sentences: ISO with or without zone, Java's, OpenSSL's, RFC 1123, kubeadm's table, Unix seconds.
DATE: Final = (
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z| ?[+-]\d\d:?\d\d(?: [A-Z]{3,4})?| [A-Z]{3,4})?"
    r"|(?:[A-Z][a-z]{2},? )?\d{1,2}[ -][A-Z][a-z]{2}[ -]\d{4} \d\d:\d\d(?::\d\d)? [A-Z]{1,4}"
    r"|(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2}\s{1,2}\d{1,2},? (?:\d{4} )?\d\d:\d\d(?::\d\d)?(?: [A-Z]{1,4})?(?: \d{4})?(?: [A-Z]{1,4})?"
    r"|\d{9,11}(?!\d))"
)
_VERDICT: Final = regex(rf"current time {DATE} is (after|before) {DATE}")
_NOT_AFTER: Final = regex(
    rf"(?:[Nn]ot ?[Aa]fter ?[:=]? ?|not valid after |[Ee]xpired (?:on|at|since) |is expired: |valid until |, expired )\"?{DATE}"
)
_NOT_BEFORE: Final = regex(
    rf"(?:[Nn]ot ?[Bb]efore ?[:=]? ?|not valid (?:before|until) |not yet valid until |valid from )\"?{DATE}"
)
_NOW: Final = regex(rf"(?:it is currently |verification time |current time )\"?{DATE}")
_DATES: Final = (
    ("not_after", ("after", "expired", "valid until"), _NOT_AFTER),
    ("not_before", ("before", "valid from", "valid until"), _NOT_BEFORE),
    ("current_time", ("currently", "verification time", "current time"), _NOW),
)
_ROW: Final = regex(r"(?:^|\s)([A-Z][a-z]{2} \d{1,2}, \d{4} \d\d:\d\d [A-Z]{3,4})\s")

HOST_PORT: Final = r"(?:\[[0-9a-fA-F:.%\w]{2,60}\]|[^\s\"'\[\]{}(),:/]{1,255}):\d{1,5}"
_REMOTE: Final = (
    ("rejected connection from", regex(r"rejected connection from \"?([^\"\s]{1,300})")),
    ("handshake error from", regex(r"handshake error from ([^\s,]{1,300}?):?(?=\s|,|$)")),
    ("client: ", regex(r"\bclient: ((?=[^,\s]*[.:])[0-9a-fA-F.:]{2,50})(?=[,\s]|$)")),
    ("from=", regex(r"\bfrom=([^\s,\"]{1,300})")),
    ("remoteAddress=", regex(r"remoteAddress=/?([^,}\s\"]{1,300})")),
    ("from tcp://", regex(r"from tcp://([^\s,\"]{1,300}?):?(?=\s|$)")),
    ("from client ", regex(rf"from client \"?({HOST_PORT})")),
    (" VERIFY ", regex(r"(?:^|\s)(?:\S{1,80}/)?((?:\d{1,3}\.){3}\d{1,3}:\d{1,5}) VERIFY ")),
    (": ", regex(r"((?:\d{1,3}\.){3}\d{1,3}:\d{1,5}) (?:\[\d\d/|TLS|WARNING|OpenSSL)")),
)
_REMOTE_KEYS: Final = tuple(f"remote{end}" for end in ("-addr", "_addr", "Addr", "-address", "_address", "Address", ""))

_URL: Final = regex(r"https?://[^\s\"'`\u2019]{1,2000}")
_METHODS: Final = tuple(
    f"{method} " for name in ("Get", "Head", "Post", "Put", "Patch", "Delete") for method in (name, name.upper())
)
_TOWARDS: Final = (
    "to ",
    "access ",
    "request for ",
    "from ",
    "from: ",
    "on ",
    "for ",
    "url: ",
    "URL:",
    "peerURL(",
    "Addr: ",
)
_ENDPOINT: Final = (
    ("connect", regex(rf"connect(?:ing)? to \{{?(?:Addr: )?\"?({HOST_PORT})")),
    ("Reconnecting to {", regex(r"Reconnecting to \{\"?([^\s\"]{1,300})")),
    ("ial", regex(rf"ial(?:ing)? (?:tcp )?\"?({HOST_PORT})")),
    ("RPC to ", regex(rf"RPC to ({HOST_PORT})")),
    ("discovered peer ", regex(rf"discovered peer ({HOST_PORT})")),
    ("host='", regex(r"host='([^']{1,255}', port=\d{1,5})\)")),
)
_ENDPOINT_KEYS: Final = ("target", "endpoint", "address", "addr", "url", "server")

_STATED: Final = (
    ("server_name", "ServerName", regex(r"ServerName:? \"([^\"]{0,255})\"")),
    ("prober", "prober", regex(r"prober \"(\w{1,64})\"")),
    ("issuer", "authority certificate", regex(r"authority certificate \"([^\"]{1,500})\"")),
    ("remote_peer_id", "peer ", regex(r"\bpeer ([0-9a-f]{8,16})\b")),
    ("remote_peer_id", "member ", regex(r"\bmember ([0-9a-f]{8,16})\b")),
    ("remote_peer_id", "dial ", regex(r"\bdial ([0-9a-f]{8,16}) on stream")),
    ("serial", "SN=", regex(r"\bSN=(\w{1,80})")),
    ("skid", "SKID=", regex(r"\bSKID=([0-9A-F:]{2,120})")),
    ("akid", "AKID=", regex(r"AKID=([0-9A-F:]{2,120})")),
    ("serial", "serial", regex(r"\bserial(?: number)?[ =:]{1,2}((?=\w*\d)\w{1,80})")),
    ("serial", " not valid anymore", regex(r"(?<!\d)(\d{6,60}) \S{1,255} not valid anymore")),
    ("ip_addresses", "IPAddresses", regex(r"IPAddresses \[([^\]]{0,2000})\]")),
    ("dns_names", "DNSNames", regex(r"DNSNames \[([^\]]{0,2000})\]")),
    ("subject", "error=", regex(r"\berror=[^:]{1,100}: ((?:[A-Za-z.]{1,20}=).{1,500}?)(?=, serial=|$)")),
    ("subject", "/CN=", regex(r"((?:/[A-Za-z]{1,20}=[^/\"]{0,200}){1,12})")),
    ("subject", "CN=", regex(r"certificate ((?:CN|O)=[^\s\"]{1,300})")),
    ("subject", "certificate ", regex(r"\[certs\].{0,40}? certificate ([\w./-]{1,80}) (?:not signed|is invalid)")),
    ("subject", "for certificate ", regex(r"for certificate ([\w./-]{1,80}):")),
    ("cert_file", ": no such file", regex(r"(?<![^\s\"'])([^\s\"']{1,500}): no such file or directory")),
    ("cert_file", ": permission denied", regex(r"(?<![^\s\"'])([^\s\"']{1,500}): permission denied")),
    ("cert_file", "[key: ", regex(r"\[key: (?:(?=,), cert: )?([^\s,\]]{1,500})")),
)
_STATED_KEYS: Final = (
    ("server_name", ("server-name", "server_name", "serverName")),
    ("prober", ("round-tripper-name",)),
    ("remote_peer_id", ("remote-peer-id", "remote-member-id", "peer-id")),
    ("ip_addresses", ("ip-addresses",)),
    ("dns_names", ("dns-names",)),
)
_NAMES: Final = (
    regex(r"certificate is (?:only )?valid for (?!name)([^;]{1,2000}), not ([^\s\",;)\]]{1,300})"),
    regex(r"cannot validate certificate for ()([^\s\"]{1,300}) because"),
    regex(r"not valid for any names, but wanted to match ()([^\s\",;)\]]{1,300})"),
    regex(r"certificate is not valid for ()['\"\u2018]([^'\"\u2019]{1,300})"),
    regex(r"certificate not valid for name \"()([^\"]{1,300})\""),
    regex(r"none matched ()([^\s\",;)\]]{1,300})"),
)


def stated_in(text: str, pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that a message and its pairs state. An empty `server_name` means that the client sent no SNI."""
    fields: dict[str, str] = {}
    _sides(text, pairs, fields)
    for name, keys in _STATED_KEYS:
        for key in keys:
            if key in pairs:
                fields.setdefault(name, pairs[key])
    for name, literal, pattern in _STATED:
        if literal in text and name not in fields:
            match = pattern.search(text)
            if match:
                fields[name] = match.group(1).replace('"', "").strip()
    _names(text, fields)
    _dates(text, fields)
    return fields


def _sides(text: str, pairs: Mapping[str, str], fields: dict[str, str]) -> None:
    """Add the caller (`remote_addr`) or the endpoint that was called (`endpoint`)."""
    remote = _first(_REMOTE_KEYS, pairs) or _search(_REMOTE, text)
    if remote and (":" in remote or "." in remote or "rejected connection from" in text):
        fields["remote_addr"] = remote
    elif remote:
        remote = ""
    endpoint = _url(text)
    if not endpoint and not remote:
        endpoint = _search(_ENDPOINT, text).replace("', port=", ":") or _first(_ENDPOINT_KEYS, pairs)
    if endpoint:
        fields["endpoint"] = endpoint


def _url(text: str) -> str:
    """Return the URL that was called: the first behind an HTTP method, else the first behind a preposition."""
    towards = ""
    for match in _URL.finditer(text):
        before = text[max(0, match.start() - 16) : match.start()].rstrip("\"'`\u2018{")
        if before.endswith(_METHODS):
            return match.group().rstrip(":,.;])")
        if not towards and before.endswith(_TOWARDS):
            towards = match.group().rstrip(":,.;])")
    return towards


def _names(text: str, fields: dict[str, str]) -> None:
    if "valid" in text or "none matched" in text:
        for pattern in _NAMES:
            match = pattern.search(text)
            if match:
                if match.group(1):
                    fields["cert_names"] = match.group(1)
                fields["wanted_name"] = match.group(2)
                return


def _first(keys: tuple[str, ...], pairs: Mapping[str, str]) -> str:
    for key in keys:
        if pairs.get(key):
            return pairs[key]
    return ""


def _search(table: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str:
    for literal, pattern in table:
        if literal in text:
            match = pattern.search(text)
            if match:
                return match.group(1)
    return ""


def _dates(text: str, fields: dict[str, str]) -> None:
    """Add the dates of a certificate's validity, and the time at which it was checked, as written."""
    verdict = _VERDICT.search(text) if "current time " in text else None
    if verdict:
        fields["current_time"] = verdict.group(1)
        fields["not_after" if verdict.group(2) == "after" else "not_before"] = verdict.group(3)
        return
    low = text.lower()
    for name, hints, pattern in _DATES:
        if any(hint in low for hint in hints):
            match = pattern.search(text)
            if match:
                fields[name] = match.group(1)
    if "not_after" not in fields and "<invalid>" in text:
        row = _ROW.search(text)
        if row:
            fields["not_after"] = row.group(1)


def moment(text: str) -> datetime | None:
    """Return the date that a text states; None if it is no date or has an ambiguous zone."""
    try:
        return _moment(text.strip())
    except (ValueError, OverflowError, OSError):
        return None


def _moment(text: str) -> datetime | None:
    if _UNIX.match(text):
        return datetime.fromtimestamp(int(text), tz=UTC)
    iso = _ISO.match(text)
    if iso:
        day, clock, zone = iso.groups()
        offset = _offset(zone or "Z")
        return (
            None if offset is None else datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=offset).astimezone(UTC)
        )
    wordy = _WORDY.match(text)
    if wordy is None:
        return None
    parts = {name.rstrip("1234"): value for name, value in wordy.groupdict().items() if value}
    offset = _offset(parts["zone"])
    if offset is None:
        return None
    hour, minute, second = (parts["time"] + ":0").split(":")[:3]
    written = datetime(
        int(parts["year"]),
        MONTHS.index(parts["month"]) + 1,
        int(parts["day"]),
        int(hour),
        int(minute),
        int(second),
        tzinfo=offset,
    )
    return written.astimezone(UTC)


def _offset(zone: str) -> timezone | None:
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        return timezone((-1 if zone[0] == "-" else 1) * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
    hours = ZONES.get(zone)
    return None if hours is None else timezone(timedelta(hours=hours))
