"""Journal entries about the service itself: each kind has its MESSAGE_ID, priority and fields."""

import pytest

from certmedic.core.message import events


@pytest.mark.parametrize(
    ("fields", "event", "priority", "named"),
    [
        (
            events.undelivered_fields(3, "opened", "mail", "refused"),
            "undelivered",
            "3",
            {"CERTMEDIC_INCIDENT": "3", "CERTMEDIC_CHANNEL": "mail", "CERTMEDIC_REASON": "refused"},
        ),
        (events.channels_faulty_fields(["a", "b"]), "channels-faulty", "3", {"CERTMEDIC_FAULTS": "a; b"}),
        (events.strangers_fields(), "strangers", "5", {}),
        (events.heartbeat_fields("HTTP 500"), "heartbeat-lost", "4", {"CERTMEDIC_REASON": "HTTP 500"}),
        (events.heartbeat_fields(""), "heartbeat-back", "5", {}),
    ],
)
def test_news_of_the_service_have_an_id_and_a_priority(fields, event, priority, named):
    assert (fields["CERTMEDIC_EVENT"], fields["PRIORITY"]) == (event, priority)
    assert fields["MESSAGE_ID"] == events.MESSAGE_IDS[event]
    assert {name: value for name, value in fields.items() if name in named} == named
    assert all(value in fields["MESSAGE"] for value in named.values())


def test_no_two_kinds_of_events_share_an_id():
    ids = [*events.MESSAGE_IDS.values(), *events.OPENED_IDS.values()]
    assert len(set(ids)) == len(ids)
