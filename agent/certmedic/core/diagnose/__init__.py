"""From a line and the files on disk to the certificate at fault and its fix.

Evidence counts by its origin:

* Files, listeners and containers count only if their origin is trusted. The line of a stranger is shown as INFO: no fact is
  looked up for it, and its key is its origin, so that all lines of one stranger are one diagnosis.
* Anyone who reaches a port can provoke the lines of a trusted program about its callers: a handshake with a wrong name, an
  expired certificate or an alert. Such a diagnosis is `provokable`, which makes it INFO, unless a file proves it or the caller is
  a known member of this etcd group. Its key differs from that of a proven fault, so that it never adds to one.
* No caller can provoke the lines of a trusted program about a server that it called, or about its files.
* The client certificate of etcd-manager is in no file. Its expiry is believed from a line of etcd-manager, from a listener that
  serves the old certificate, or from the age of the process.

The order of the questions: who refused whom; is the time in the line the NotAfter of a file here; which certificates of this
machine can the line be about, and does a check find a fault in one of them.
"""

from certmedic.core.diagnose.diagnosis import diagnose

__all__ = ["diagnose"]
