"""`./dev drill`: the real agent on a scratch master, with real authorities, a real etcd and a stand-in for etcd-manager.

etcd.py      finds or downloads an etcd
standin.py   does what etcd-manager does to certificates when it starts; a program that needs labs/pki.py and nothing else of ours
master.py    the master's files and three members on loopback
story.py     the time line
recorded/    the log of a real etcd, for machines without one, and how it is played
"""
