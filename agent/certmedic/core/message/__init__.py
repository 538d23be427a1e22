"""What certmedic says: messages to people, in three forms of one structure, and entries for the journal."""

from certmedic.core.message.compose import compose, test_message
from certmedic.core.message.events import config_refused_fields, event_fields, source_fields, started_fields
from certmedic.core.message.when import forecast, renewed, retry_at
from certmedic.core.message.whom import silence_of, tag_of

__all__ = [
    "compose",
    "config_refused_fields",
    "event_fields",
    "forecast",
    "renewed",
    "retry_at",
    "silence_of",
    "source_fields",
    "started_fields",
    "tag_of",
    "test_message",
]
