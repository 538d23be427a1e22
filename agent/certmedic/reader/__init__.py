"""The reader: the process that reads logs, certificate files and /proc, and sends what matters to the agent.

    sources.py    what it follows
    docker.py     Docker's logs, as files or over the socket
    serve.py      its end of the connections
    sandbox.py    the powers that it gives up when it starts

It decides nothing, parses neither lines nor certificates, writes nothing and talks to nobody but the agent.
"""
