"""The numbers of the README are those of the code, its links lead to files, and its pictures are small."""

import re
from datetime import timedelta

import pytest

from certmedic.actor import server
from certmedic.alerts import POST_EVERY
from certmedic.cli.incidents import APPROVED_FOR
from certmedic.config import Certificates, RemedyPolicy
from certmedic.core import blind
from certmedic.core.decision import FRESH_FOR, steady
from certmedic.core.incident import LOOK_EVERY, accusation, circumstances, cure, life
from certmedic.core.message import when
from certmedic.core.message.alert import LASTS
from certmedic.edge.metrics import certificates
from certmedic.pulse import METRICS_EVERY
from labs import ROOT, letters

README = (ROOT / "README.md").read_text()
PICTURES = sorted((ROOT / "packaging/examples").glob("*.png"))
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("sentence", "value", "expected"),
    [
        ("did it fail within ten minutes", FRESH_FOR, 10 * MINUTE),
        ("stay up for the next half hour", steady.SOON, 30 * MINUTE),
        ("stop answering in the last 3 minutes", steady.BACK_WITHIN, 3 * MINUTE),
        ("none within 15 minutes of another", RemedyPolicy().cooldown, 15 * MINUTE),
        ("15 minutes of another, two a day", RemedyPolicy().per_day, 2),
        ("after 30 idle seconds", server.IDLE, 30.0),
        ("up to four a minute for each port", MINUTE / LOOK_EVERY, 4),
        ("one each 2 s until the listener serves", cure.VERIFY_EVERY, 2 * SECOND),
        ("ends after 15 minutes without a line", life.QUIET_FOR, 15 * MINUTE),
        ("could not be read for 90 seconds", blind.GRACE, 90 * SECOND),
        ("a reminder 14, 7, 3 and 1 days ahead", Certificates().warn_days, (30, 14, 7, 3, 1)),
        ("allow an action on one incident, for four hours", APPROVED_FOR, 240 * MINUTE),
        ("are retried for a day", when.KEEP_TRYING, 1440 * MINUTE),
        ("metrics.prom` every minute", METRICS_EVERY, 60.0),
        ("at most 500 certificates have series", certificates.MOST, 500),
        ("open incidents every minute to every instance", POST_EVERY, MINUTE),
        ("after ten minutes without an answer of that member", accusation.FIRST_AFTER, 10 * MINUTE),
        ("if each answers once in ten minutes", circumstances.DEAD_AFTER, 10 * MINUTE),
        ("has not answered for ten minutes", circumstances.DEAD_AFTER, 10 * MINUTE),
        ("else after `notify.remind_every`", accusation.rest_after(360 * MINUTE), 360 * MINUTE),
        ("resolves nothing for five minutes", LASTS, 5 * MINUTE),
        ("every message of eleven such stories", len(letters.STORIES), 11),
    ],
)
def test_number_in_the_readme_is_that_of_the_code(sentence, value, expected):
    assert sentence in " ".join(README.split())
    assert value == expected


def test_each_link_leads_to_a_file_and_the_pictures_are_small():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []
    assert {link for link in links if link.endswith(".png")} <= {str(path.relative_to(ROOT)) for path in PICTURES}
    assert all(path.stat().st_size <= 150_000 for path in PICTURES)
    assert sum(path.stat().st_size for path in PICTURES) <= 600_000


def test_first_screen_has_three_sentences_a_picture_and_three_commands():
    first = README.partition("\n## ")[0]
    _, words, picture, commands, *rest = first.strip().split("\n\n")

    assert len(re.findall(r"\.(?=\s|$)", words)) == 3
    assert picture.startswith("![")
    assert len(commands.splitlines()) == 3
    assert rest == []
