"""Messages to people, in three forms of one structure, and entries for the journal."""

from certmedic.core.message.alert import (
    FIXED,
    KEPT,
    alert,
    annotations_of,
    answered,
    ended,
    fixed,
    is_posted,
    labels_of,
)
from certmedic.core.message.badge import badged
from certmedic.core.message.compose import compose, test_message
from certmedic.core.message.digest import digest
from certmedic.core.message.event import BASES, NEVER_AGAIN, event, key_of
from certmedic.core.message.events import (
    alertmanager_fields,
    channels_faulty_fields,
    config_refused_fields,
    event_fields,
    heartbeat_fields,
    source_fields,
    started_fields,
    strangers_fields,
    undelivered_fields,
)
from certmedic.core.message.nearby import BREAKER, few_lines, in_few_words, login_line, pulse, silence_text, wall_text
from certmedic.core.message.page import page
from certmedic.core.message.when import renewed, retry_at
from certmedic.core.message.whom import silence_of, tag_of, windows
from certmedic.core.message.words import machine

__all__ = [
    "BASES",
    "BREAKER",
    "FIXED",
    "KEPT",
    "NEVER_AGAIN",
    "alert",
    "alertmanager_fields",
    "annotations_of",
    "answered",
    "badged",
    "channels_faulty_fields",
    "compose",
    "config_refused_fields",
    "digest",
    "ended",
    "event",
    "event_fields",
    "few_lines",
    "fixed",
    "heartbeat_fields",
    "in_few_words",
    "is_posted",
    "key_of",
    "labels_of",
    "login_line",
    "machine",
    "page",
    "pulse",
    "renewed",
    "retry_at",
    "silence_of",
    "silence_text",
    "source_fields",
    "started_fields",
    "strangers_fields",
    "tag_of",
    "test_message",
    "undelivered_fields",
    "wall_text",
    "windows",
]
