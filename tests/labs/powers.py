"""What a taken-over process of a packaged unit could do: a program in a copy of the unit tries it, on a booted machine."""

from __future__ import annotations

import json
from collections.abc import Mapping

from labs import ROOT
from labs.machine import Machine

# The program reports "done" or the name of the error for each attempt.
PROGRAM = """
import ctypes, errno, json, os, socket, sys
from pathlib import Path
key, log, sockets = sys.argv[1], sys.argv[2], sys.argv[3:]
libc = ctypes.CDLL(None, use_errno=True)

def trace():
    if libc.ptrace(16, 1, 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")

def write_memory(read):
    # process_vm_readv, process_vm_writev: nothing is mapped at address 1, so a caller that has the right gets EFAULT
    here = ctypes.create_string_buffer(1)
    ours = (ctypes.c_void_p * 2)(ctypes.addressof(here), 1)
    theirs = (ctypes.c_void_p * 2)(1, 1)
    for number in (read, read + 1):
        if libc.syscall(number, 1, ours, 1, theirs, 1, 0) < 0 and ctypes.get_errno() != errno.EFAULT:
            raise OSError(ctypes.get_errno(), "process_vm")

def connect(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if "certmedic" in path else socket.SOCK_STREAM) as sock:
        sock.connect(path)

tries = {
    "open a key": lambda: Path(key).read_bytes(),
    "open a pod's log": lambda: Path(log).read_bytes(),
    "read root's environment": lambda: Path("/proc/1/environ").read_bytes(),
    "trace root's process": trace,
    "write a memory": lambda: open("/proc/1/mem", "r+b").close(),
    "write a memory by a call": lambda: write_memory(310 if os.uname().machine == "x86_64" else 270),
    "write a key": lambda: open(key, "ab").close(),
    "make a file in /etc": lambda: Path("/etc/made").touch(),
    "make a file in /var/lib": lambda: Path("/var/lib/made").touch(),
    "become root": lambda: os.setuid(0),
    "connect by TCP": lambda: socket.create_connection(("127.0.0.1", 8099), 2).close(),
    **{f"connect to {path}": lambda path=path: connect(path) for path in sockets},
}
answers = {}
for name, attempt in tries.items():
    try:
        attempt()
        answers[name] = "done"
    except OSError as error:
        answers[name] = type(error).__name__
print(json.dumps(answers))
"""
# Lines of a unit that a copy leaves out: what it runs, and the folders that it shares with the real one.
LEFT_OUT = (
    "Type=", "NotifyAccess=", "ExecStart=", "ExecReload=", "Restart", "WatchdogSec=", "Requires=", "Wants=", "RuntimeDirectory",
    "StateDirectory",
)  # fmt: skip


def tried(machine: Machine, unit: str, key: str, log: str, *sockets: str) -> Mapping[str, str]:
    """Return attempt -> "done" or the error, in a copy of a unit with its user and its sandbox."""
    text = (ROOT / "systemd" / f"{unit}.service").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(LEFT_OUT)]
    place = kept.index("[Service]") + 1
    words = " ".join((key, log, *sockets))
    kept[place:place] = [
        "Type=oneshot",
        f"StandardOutput=truncate:/run/tried-{unit}",
        f"ExecStart=/usr/bin/python3 -I /srv/tried.py {words}",
    ]
    machine.write("/srv/tried.py", PROGRAM)
    machine.write(f"/run/systemd/system/tried-{unit}.service", "\n".join(kept) + "\n")
    machine("systemctl", "daemon-reload")
    machine("systemctl", "start", f"tried-{unit}.service")
    answers: Mapping[str, str] = json.loads(machine("cat", f"/run/tried-{unit}"))
    return answers
