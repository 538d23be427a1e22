"""When a maintenance window is open: days, hours, past midnight, in a time zone."""

from datetime import UTC, datetime

import pytest

from certmedic.core import window


@pytest.mark.parametrize(
    ("text", "moment", "is_open"),
    [
        ("Sun 02:00-04:00 UTC", datetime(2026, 11, 22, 2, 0, tzinfo=UTC), True),
        ("Sun 02:00-04:00 UTC", datetime(2026, 11, 22, 4, 0, tzinfo=UTC), False),
        ("Sun 02:00-04:00 UTC", datetime(2026, 11, 23, 3, 0, tzinfo=UTC), False),
        ("02:00-04:00", datetime(2026, 11, 23, 3, 0, tzinfo=UTC), True),
        ("Fri 22:00-05:00", datetime(2026, 11, 27, 23, 0, tzinfo=UTC), True),
        ("Fri 22:00-05:00", datetime(2026, 11, 28, 4, 59, tzinfo=UTC), True),
        ("Fri 22:00-05:00", datetime(2026, 11, 28, 23, 0, tzinfo=UTC), False),
        ("Sat-Mon 10:00-11:00", datetime(2026, 11, 23, 10, 30, tzinfo=UTC), True),
        ("Sat-Mon 10:00-11:00", datetime(2026, 11, 24, 10, 30, tzinfo=UTC), False),
        ("mon,wed 10:00-11:00", datetime(2026, 11, 25, 10, 30, tzinfo=UTC), True),
        ("Tue 02:00-04:00 Europe/Berlin", datetime(2026, 11, 24, 1, 30, tzinfo=UTC), True),
        ("Tue 02:00-04:00 Europe/Berlin", datetime(2026, 7, 21, 1, 30, tzinfo=UTC), True),
        ("Tue 02:00-04:00 Europe/Berlin", datetime(2026, 7, 21, 2, 30, tzinfo=UTC), False),
        # clocks go forward from 02:00 to 03:00 on 2026-03-29, and back from 03:00 to 02:00 on 2026-10-25
        ("Sun 01:30-03:30 Europe/Berlin", datetime(2026, 3, 29, 0, 29, tzinfo=UTC), False),
        ("Sun 01:30-03:30 Europe/Berlin", datetime(2026, 3, 29, 0, 30, tzinfo=UTC), True),
        ("Sun 01:30-03:30 Europe/Berlin", datetime(2026, 3, 29, 1, 29, tzinfo=UTC), True),
        ("Sun 01:30-03:30 Europe/Berlin", datetime(2026, 3, 29, 1, 30, tzinfo=UTC), False),
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), False),  # this hour does not exist
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), True),
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), True),  # this hour occurs twice
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 10, 25, 2, 0, tzinfo=UTC), False),
        ("Sat 23:00-02:30 Europe/Berlin", datetime(2026, 3, 28, 22, 0, tzinfo=UTC), True),
        ("Sat 23:00-02:30 Europe/Berlin", datetime(2026, 3, 29, 0, 59, tzinfo=UTC), True),
        ("Sat 23:00-02:30 Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), False),
        # past midnight the day of the window is its opening day in its time zone
        ("Sun 22:00-02:00 America/New_York", datetime(2026, 11, 23, 3, 0, tzinfo=UTC), True),
        ("Sun 22:00-02:00 America/New_York", datetime(2026, 11, 23, 6, 59, tzinfo=UTC), True),
        ("Sun 22:00-02:00 America/New_York", datetime(2026, 11, 23, 7, 0, tzinfo=UTC), False),
        ("Sun 22:00-02:00 America/New_York", datetime(2026, 11, 22, 6, 0, tzinfo=UTC), False),
        ("Sun 23:59-00:00", datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC), True),
        ("Sun 23:59-00:00", datetime(2026, 11, 23, 0, 0, tzinfo=UTC), False),
    ],
)
def test_window_is_open_only_in_its_hours(text, moment, is_open):
    assert window.parse(text).is_open(moment) is is_open


@pytest.mark.parametrize(
    "text", ["", "Sunday night", "Son 02:00-04:00", "25:00-26:00", "02:00-02:00", "02:00-04:00 Mars/Olympus", "Sun 2-4"]
)
def test_invalid_window_is_refused_with_the_allowed_format(text):
    with pytest.raises(ValueError, match="allowed"):
        window.parse(text)


@pytest.mark.parametrize(
    ("text", "moment", "closes"),
    [
        ("Sun 02:00-04:00 UTC", datetime(2026, 11, 22, 2, 0, tzinfo=UTC), datetime(2026, 11, 22, 4, 0, tzinfo=UTC)),
        ("Fri 22:00-05:00", datetime(2026, 11, 27, 23, 0, tzinfo=UTC), datetime(2026, 11, 28, 5, 0, tzinfo=UTC)),
        ("Fri 22:00-05:00", datetime(2026, 11, 28, 4, 59, tzinfo=UTC), datetime(2026, 11, 28, 5, 0, tzinfo=UTC)),
        (
            "02:00-04:00 Europe/Berlin",
            datetime(2026, 7, 21, 1, 30, tzinfo=UTC),
            datetime(2026, 7, 21, 2, 0, tzinfo=UTC),
        ),
        # Berlin's clocks go back in this night: 02:30 occurs for the second time.
        (
            "01:00-02:45 Europe/Berlin",
            datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
            datetime(2026, 10, 25, 1, 45, tzinfo=UTC),
        ),
    ],
)
def test_open_window_has_a_closing_time(text, moment, closes):
    parsed = window.parse(text)
    assert parsed.is_open(moment)
    assert parsed.closes(moment) == closes
