"""Fixtures of the attacks: a separate master, and a listener for the watchdog pings of its agent."""

import pytest

from labs.hostile import Watchdog
from labs.house import house


@pytest.fixture
def home(request):
    """Make a healthy master on which no agent runs yet."""
    with house("attack") as made:
        yield made


@pytest.fixture
def watchdog(home):
    """Listen for the watchdog pings of the agent."""
    listening = Watchdog(home.home / "notify")
    yield listening
    listening.close()
