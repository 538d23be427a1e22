"""What the attacks have in common: a master of their own, and what stands for its health."""

import pytest

from labs.hostile import Watchdog
from labs.house import house


@pytest.fixture
def home(request):
    """Make a master on which nothing is wrong and no agent runs yet."""
    with house("attack") as made:
        yield made


@pytest.fixture
def watchdog(home):
    """Listen for the agent's pings."""
    listening = Watchdog(home.home / "notify")
    yield listening
    listening.close()
