"""The agent's memory: one SQLite file, and one transaction for each turn of the loop.

`Store` is used from the thread that opened it. The agent is its only writer; the commands that look (`incidents`, `show`,
`status`) open it read-only and see the last finished transaction. It holds everything that must survive a `kill -9`.

    database.py   the file, its schema and transactions
    sources.py    positions and status of sources, members of etcd
    incidents.py  incidents, their lines and history
    acts.py       actions, from the intent to the result; approvals and resets
    rechecks.py   what is looked at again, and when
    outbox.py     messages, deliveries and silences
    strangers.py  lines of strangers
    clock.py      all times, after the clock was set back
    state.py      all of it
"""

from certmedic.core.incident.state import Act, Incident
from certmedic.edge.store.database import StoreError
from certmedic.edge.store.outbox import Delivery
from certmedic.edge.store.state import Store

STATE = "state.sqlite3"  # in the folder of the state

__all__ = ["STATE", "Act", "Delivery", "Incident", "Store", "StoreError"]
