"""`./dev drill`: the real agent on a scratch master, with real CAs, a real etcd and a stand-in for etcd-manager.

etcd.py      finds or downloads an etcd
standin.py   issues certificates at startup as etcd-manager does; a program that needs only labs/pki.py
master.py    the master's files and three members on loopback
story.py     the timeline
recorded/    the log of a real etcd, for machines without etcd, and its playback
"""
