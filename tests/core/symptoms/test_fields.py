"""The fields of a line: the caller, the called endpoint, and dates in the formats of many programs."""

from datetime import UTC, datetime

import pytest

from certmedic.core.symptoms.fields import moment, stated_in

URL_A, URL_B = "https://10.0.0.1:2379", "https://10.0.0.2:2379"


@pytest.mark.parametrize(
    ("text", "pairs", "fields"),
    [
        ("x", {"remote-addr": "10.0.0.2:1"}, {"remote_addr": "10.0.0.2:1"}),
        ("x", {"remote-addr": "@"}, {}),  # a UNIX socket's address names no machine
        ("x", {"remote-addr": "@", "endpoint": URL_A}, {"endpoint": URL_A}),
        ('rejected connection from "@"', {}, {"remote_addr": "@"}),
        (f"see {URL_A} and Get {URL_B}", {}, {"endpoint": URL_B}),
        (f"see {URL_A}, connecting to {URL_B}.", {}, {"endpoint": URL_B}),
        (f"from {URL_A} to {URL_B}", {}, {"endpoint": URL_A}),
        (f"see {URL_A}", {}, {}),
    ],
)
def test_remote_address_or_endpoint_is_read(text, pairs, fields):
    assert stated_in(text, pairs) == fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("admin.conf  Nov 19, 2026 15:30 UTC   <invalid>  ca", {"not_after": "Nov 19, 2026 15:30 UTC"}),
        ("admin.conf  no date   <invalid>", {}),
        ("it is expired", {}),
    ],
)
def test_expired_row_of_kubeadms_table_gives_its_date(text, fields):
    assert stated_in(text, {}) == fields


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-19T15:30:41Z", datetime(2026, 11, 19, 15, 30, 41, tzinfo=UTC)),
        ("2026-11-19 15:30:41", datetime(2026, 11, 19, 15, 30, 41, tzinfo=UTC)),
        ("2026-11-19T15:30:41+02:00", datetime(2026, 11, 19, 13, 30, 41, tzinfo=UTC)),
        ("2026-11-19 15:30:41 -0530", datetime(2026, 11, 19, 21, 0, 41, tzinfo=UTC)),
        ("2026-11-19 15:30:41 CET", datetime(2026, 11, 19, 14, 30, 41, tzinfo=UTC)),
        ("2026-11-19 15:30:41 CST", None),  # ambiguous: America or China
        ("Thu Nov 19 15:30:41 CST 2026", None),
        ("Nov 19, 2026 15:30 UTC", datetime(2026, 11, 19, 15, 30, tzinfo=UTC)),
        ("1795102241", datetime(2026, 11, 19, 15, 30, 41, tzinfo=UTC)),
        ("99999999999", datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
        ("2026-13-19T15:30:41Z", None),
        ("0001-01-01T00:00:00+23:59", None),  # before the first year
        ("yesterday", None),
    ],
)
def test_dates_are_read_in_the_formats_of_many_programs(text, read):
    assert moment(text) == read
