"""The state of this machine: certificate files, listeners, containers, processes, etcd members, clock.

    machine.py     puts the others together
    sight.py       what is read from files, by this process or by the reader; the reader loads no module above it:
                   survey.py, paths.py, containers.py, containerd.py, processes.py, programs.py
    inventory.py   certificates on disk; survey.py: which files, and their bytes without keys; paths.py: the files beside them
    listeners.py   own addresses, handshakes
    containers.py  Docker, static pods' manifests
    containerd.py  containerd
    members.py     the members of the etcd groups, and what each serves
    etcds.py       the etcd processes here
    endpoints.py   names looked up, and many handshakes at once
    roster.py      who the members are, from etcd itself
    memory.py      certificates that only a program's memory holds
    units.py       systemd's units
    processes.py   one process: who it is, its flags and environment; the clock
    programs.py    programs of the control plane, since when they run, and what each names
    master.py      name, address and version of a master, by its files

Nothing here raises. A failure is a fault of a file, or a sentence in `Facts.blind`.
"""
