"""The state of this machine: certificate files, listeners, containers, processes, etcd members, clock.

    machine.py     puts the others together
    inventory.py   certificates on disk; paths.py: which files, and what lies beside them
    listeners.py   own addresses, handshakes
    containers.py  Docker, static pods' manifests
    containerd.py  containerd
    members.py     the members of the etcd groups, and what each serves
    etcds.py       the etcd processes here
    endpoints.py   names looked up, and many handshakes at once
    roster.py      who the members are, from etcd itself
    units.py       systemd's units
    processes.py   flags and environment of a process; the clock

Nothing here raises: what cannot be read is a fault of a file, or a sentence in `Facts.blind`.
"""

from certmedic.edge.facts.containers import containers, manifest_files, manifest_images
from certmedic.edge.facts.inventory import Inventory
from certmedic.edge.facts.listeners import listening, own_addresses, shake_hands
from certmedic.edge.facts.machine import Machine
from certmedic.edge.facts.members import MembersSeen, members
from certmedic.edge.facts.processes import clock_synchronised, read_process
from certmedic.edge.facts.units import units

__all__ = [
    "Inventory",
    "Machine",
    "MembersSeen",
    "clock_synchronised",
    "containers",
    "listening",
    "manifest_files",
    "manifest_images",
    "members",
    "own_addresses",
    "read_process",
    "shake_hands",
    "units",
]
