"""All attacks at once for a minute; `./dev attack` runs for ten."""

from labs.namespaces import STORY
from labs.siege import siege

pytestmark = STORY


def test_minute_of_all_attacks_at_once_breaks_no_bound():
    measured = siege(60)
    assert measured.broken() == [], measured
