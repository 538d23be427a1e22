"""Times of the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from certmedic.cli.inputs import moment_of

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-03-01", datetime(2027, 3, 1, tzinfo=UTC)),
        ("2027-03-01T04:00:00Z", datetime(2027, 3, 1, 4, tzinfo=UTC)),
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
    ],
)
def test_time_is_a_date_or_a_span_ahead(text, moment):
    assert moment_of(text, NOW) == moment


@pytest.mark.parametrize("text", ["soon", "90", "-3d", ""])
def test_other_text_is_no_time(text):
    with pytest.raises(ValueError, match=r".*"):
        moment_of(text, NOW)
