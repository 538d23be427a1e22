"""Messages to people's channels, through apprise.

    notifier.py   which channels get a message, and how long each may take
    addresses.py  apprise's files, read
    attempt.py    one service: a message in its form, until a deadline
    capture.py    what apprise logs, without addresses

Addresses are secrets. A channel is known by a hash and shown as scheme and host; only numbers pass from apprise's log, since
apprise quotes addresses there.
"""

from certmedic.edge.notify.notifier import READ_AGAIN, AppriseNotifier

__all__ = ["READ_AGAIN", "AppriseNotifier"]
