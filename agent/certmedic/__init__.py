"""certmedic: whose TLS certificate failed on this Kubernetes master, and what cures it."""

__version__ = "0.1.0"
