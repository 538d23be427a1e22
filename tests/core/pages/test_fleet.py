"""The page on a fleet names what is wrong, what expires, who is silent and what was fixed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from certmedic.core.fleet import Cure, Expiry, Master, Records, Report, view
from certmedic.core.pages import fleet_page
from labs.fleets import made
from labs.html import Tags

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOSTILE = '"><img src=x onerror=alert(1)></style><script>\u202e'


def test_page_shows_every_part_of_a_fleet():
    tags = Tags(fleet_page(view(made(20, NOW), NOW)))

    assert tags.open == []
    for text in (
        "2 open incidents in 2 clusters of 20",
        "master-b: etcd main",
        "certificate expired",
        "master-b, master-a, master-c",
        "Masters that have gone silent",
        "What expires next",
        "And 1475 more.",
        "What was fixed",
    ):
        assert text in tags.text


def test_page_of_a_healthy_fleet_has_no_empty_table():
    tags = Tags(fleet_page(view(Records(masters=(Master(cluster="", name="a", heard=NOW),)), NOW)))

    assert "1 cluster: no open incident" in tags.text
    assert "(no name)" in tags.text
    assert not any(text in tags.text for text in ("Open incidents", "gone silent.", "expires next", "What was fixed"))


def test_page_without_any_record_is_a_page():
    assert "0 clusters: no open incident" in fleet_page(view(Records(), NOW))


def test_hostile_labels_stay_text():
    day = timedelta(days=1)
    words = dict.fromkeys(("cluster", "master"), HOSTILE)
    more = dict.fromkeys(("cause", "suspect", "severity", "plane", "group", "culprit", "text", "command"), HOSTILE)
    records = Records(
        masters=(Master(cluster=HOSTILE, name=HOSTILE, heard=NOW - day, version=HOSTILE, mode=HOSTILE),),
        expiries=(Expiry(**words, path=HOSTILE, not_after=NOW - day, plane=HOSTILE, use=HOSTILE, cure=HOSTILE),),
        reports=(
            Report(**words, **more),
            replace(Report(**words, **more), since=NOW - day, suspect="peer", culprit=""),
        ),
        cures=(Cure(**words, at=NOW, what=HOSTILE, verified=False),),
    )
    text = fleet_page(view(records, NOW))
    tags, plain = Tags(text), Tags(fleet_page(view(made(20, NOW), NOW)))

    assert tags.names <= plain.names
    assert tags.attributes <= plain.attributes
    assert text.count("</style>") == 1
    assert "\u202e" not in text


def test_numbers_agree_with_their_nouns_and_bars_differ_without_colour():
    few, many = (Tags(fleet_page(view(made(clusters, NOW), NOW))) for clusters in (8, 30))

    assert "1critical incident1certificate has expired" in few.text
    assert "1master has gone silent" in few.text
    assert "3critical incidents3certificates have expired" in many.text
    assert "2masters have gone silent" in many.text
    assert "Striped: nothing renews them by itself." in few.text
    assert ".bar.alone{background:repeating-linear-gradient" in fleet_page(view(made(8, NOW), NOW))
    assert "verified" in few.text
