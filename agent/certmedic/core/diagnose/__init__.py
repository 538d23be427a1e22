"""From what a line says and what is on disk to whose certificate is at fault and what fixes it.

Whose word counts:

* Files, listeners and containers count only if their origin is trusted. A stranger's line is shown as it is, as INFO: no fact is
  looked up for it, and its key comes from its origin, so that all that one stranger writes is one diagnosis.
* What a trusted program logs about a caller that came to it, anyone who reaches the port can provoke: a handshake with a wrong
  name, an expired certificate or an alert. Such a diagnosis is `provokable`, which makes it INFO, unless a file that was read
  proves it or the caller is a known member of this etcd group. It has a key of its own, so that it never adds to a real one.
* What a trusted program logs about a server that it called itself, or about its own files, nobody outside can make it say.
* etcd-manager's client certificate is in no file. That it has expired is believed from etcd-manager's own line, from the
  listener that serves the old certificate, or from the age of its process.

The order of the questions: who refused whom; is the time in the line the NotAfter of a file here; which of this machine's
certificates can the line be about, and does a check of the file show that one of them is bad.
"""

from certmedic.core.diagnose.diagnosis import diagnose

__all__ = ["diagnose"]
