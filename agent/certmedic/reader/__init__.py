"""The reader: the process that reads logs, certificate files and /proc, and sends what matters to the agent.

    sources.py    what it follows
    serve.py      its end of the connections

It decides nothing, parses neither lines nor certificates, writes nothing and talks to nobody but the agent.
"""
