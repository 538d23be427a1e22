"""A scratch master: real authorities, a real etcd, a small stand-in for etcd-manager, and the same agent as the service's.

etcd.py      where the etcd program comes from
pki.py       authorities and leaves, as nodeup and etcd-manager issue them
standin.py   what etcd-manager does to certificates at its start; a program of its own
master.py    the master's files and three members on loopback
story.py     the time line of `certmedic drill`
recorded/    what a real etcd logged, for machines without one, and how it is played
"""
