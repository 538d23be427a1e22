"""The process that acts. It runs as root, is started by its socket, and believes nobody.

    __main__.py  the command certmedic-actor
    server.py    the socket: who may ask, and how
    verbs.py     answers one request, and writes its journal entries
    checks.py    its own decision, on its own facts and history
    surgery.py   performs and undoes one recorded action
    record.py    its own memory: actions, resets, members
    build.py     its means, from root's configuration
    restart.py   restarts one container, unit or command
    renew/       signs leaves again, moves them aside, puts them back
    listen.py    a socket of systemd's, and who is at its other end
    dial.py      the network, through the dialer
    dialer.py    another process, which connects for the actor
    lease.py     the lease in etcd; roster.py: the members, from etcd itself
    ports.py     the Protocols between them

Nothing in the agent's process imports this package: the agent has no code that acts.
"""
