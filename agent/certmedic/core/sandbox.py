"""Which protections of a unit the running systemd does not know: it ignores them with a warning, and the unit runs without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Protection(NamedTuple):
    """A directive that takes powers from a process."""

    since: int  # the first systemd that knows it; 0: older than 229
    without: str  # what holds if it is ignored


class Lost(NamedTuple):
    """A directive of a unit that the running systemd does not know."""

    directive: str
    since: int
    without: str


# Versions: systemd's NEWS file of release 252, "CHANGES WITH N". Ubuntu 18.04 has 237, Amazon Linux 2 has 219, Debian 11 has 247.
PROTECTIONS: Mapping[str, Protection] = {
    "AmbientCapabilities": Protection(229, "the process has fewer capabilities than it needs"),
    "BindReadOnlyPaths": Protection(233, "the process does not see the files that were bound for it"),
    "CapabilityBoundingSet": Protection(0, "root keeps all capabilities"),
    "DevicePolicy": Protection(0, "the process may open devices"),
    "IPAddressAllow": Protection(235, "no address is excepted from IPAddressDeny="),
    "IPAddressDeny": Protection(235, "the process may reach every address"),
    "DynamicUser": Protection(232, "the process runs as root"),
    "InaccessiblePaths": Protection(231, "the process sees files that were to be hidden"),
    "KeyringMode": Protection(235, "the process shares a kernel keyring with other services"),
    "LockPersonality": Protection(235, "the process may change its execution domain"),
    "MemoryDenyWriteExecute": Protection(231, "the process may make memory that is writable and executable"),
    "NoExecPaths": Protection(248, "the process may run programs from every folder"),
    "NoNewPrivileges": Protection(0, "a set-user-ID program may give the process more power"),
    "PrivateDevices": Protection(0, "the process sees all devices"),
    "PrivateIPC": Protection(248, "the process shares IPC objects with other programs"),
    "PrivateMounts": Protection(
        239, "the mounts of the process may reach the machine, if nothing else makes a mount namespace"
    ),
    "PrivateNetwork": Protection(0, "the process uses the machine's network"),
    "PrivateTmp": Protection(0, "the process shares /tmp with other programs"),
    "PrivateUsers": Protection(232, "the process sees all users"),
    "ProcSubset": Protection(247, "the process sees all of /proc"),
    "ProtectClock": Protection(245, "only the capabilities keep the process from setting the clock"),
    "ProtectControlGroups": Protection(232, "the process may change control groups"),
    "ProtectHome": Protection(0, "the process may write into homes"),
    "ProtectHostname": Protection(242, "only the capabilities keep the process from changing the hostname"),
    "ProtectKernelLogs": Protection(244, "only the capabilities keep the process from the kernel's log"),
    "ProtectKernelModules": Protection(232, "only the capabilities keep the process from loading kernel modules"),
    "ProtectKernelTunables": Protection(232, "the process may change kernel tunables"),
    "ProtectProc": Protection(247, "the process sees the processes of other users in /proc"),
    "ProtectSystem": Protection(0, "the process may write everywhere"),
    "ReadOnlyPaths": Protection(231, "the process may write to paths that were to be read-only"),
    "ReadWritePaths": Protection(231, "the process cannot write to the paths that were named for it"),
    "RemoveIPC": Protection(232, "IPC objects stay when the process ends"),
    "RestrictAddressFamilies": Protection(0, "the process may use every kind of socket"),
    "RestrictFileSystems": Protection(250, "the process may open files of every file system"),
    "RestrictNamespaces": Protection(233, "the process may make namespaces"),
    "RestrictNetworkInterfaces": Protection(250, "the process may use every network interface"),
    "RestrictRealtime": Protection(231, "the process may take the CPU by real-time scheduling"),
    "RestrictSUIDSGID": Protection(242, "the process may make set-user-ID files where it may write"),
    "SocketBindDeny": Protection(249, "the process may listen on every port"),
    "SystemCallArchitectures": Protection(0, "the process may use the system calls of another architecture"),
    "SystemCallErrorNumber": Protection(0, "a forbidden system call kills the process"),
    "SystemCallFilter": Protection(0, "the process may use every system call"),
    "TemporaryFileSystem": Protection(238, "the process sees files that were to be hidden"),
}
# A systemd that does not know this set drops the line that names it. A list of forbidden system calls remains.
SERVICE_CALLS = "@system-service"
SERVICE_CALLS_SINCE = 239


def lost(unit: str, properties: Mapping[str, str]) -> tuple[Lost, ...]:
    """Return the protections of a unit's text that are missing in its properties, as `systemctl cat` and `systemctl show` print them."""
    named: dict[str, str] = {}
    for line in unit.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key in PROTECTIONS:
            named[key] = f"{named.get(key, '')} {value}".strip()
    missing = [Lost(f"{key}=", *PROTECTIONS[key]) for key in sorted(named) if key not in properties]
    if SERVICE_CALLS in named.get("SystemCallFilter", "").split() and properties.get("SystemCallFilter", "").startswith(
        "~"
    ):
        missing.append(
            Lost(
                f"SystemCallFilter={SERVICE_CALLS}",
                SERVICE_CALLS_SINCE,
                "the process may use all system calls but those that are forbidden by name",
            )
        )
    return tuple(missing)


def known(unit: str) -> int:
    """Return how many different protections a unit's text names."""
    keys = {line.strip().partition("=")[0] for line in unit.splitlines() if "=" in line}
    return len(keys & PROTECTIONS.keys())
