"""`lost` names the protections of a unit that systemd does not know."""

import re
from pathlib import Path

import pytest

from certmedic.core.sandbox import PROTECTIONS, Lost, known, lost

UNITS = Path(__file__).parents[2] / "systemd"
# Directives that take no power from a process: programs, order, limits and folders.
PLAIN = set(
    re.findall(
        r"\w+",
        """
Accept After Also Backlog Before BindsTo CPUQuota CPUWeight CacheDirectory ConditionPathExists
ConfigurationDirectory ConfigurationDirectoryMode Conflicts DefaultDependencies Delegate Description DirectoryMode
Documentation DynamicUser Environment ExecReload ExecStart ExecStartPost ExecStartPre FileDescriptorName Group
IOWeight KillMode LimitCORE LimitNOFILE ListenSequentialPacket ListenStream LoadCredential LogRateLimitIntervalSec
LogsDirectory MaxConnections MemoryHigh MemoryMax NotifyAccess OOMScoreAdjust PartOf PassCredentials
PropagatesStopTo RemoveOnStop Requires Restart RestartPreventExitStatus RestartSec RuntimeDirectory
RuntimeDirectoryMode RuntimeDirectoryPreserve Service Slice SocketGroup SocketMode SocketUser Sockets StandardError
StandardInput StandardOutput StartLimitBurst StartLimitIntervalSec StateDirectory StateDirectoryMode
SuccessExitStatus SupplementaryGroups Symlinks SyslogIdentifier TasksMax TimeoutStartSec TimeoutStopSec
TriggerLimitBurst TriggerLimitIntervalSec Type UMask Upholds User WantedBy Wants WatchdogSec
""",
    )
)


def units():
    return sorted([*UNITS.glob("*.service"), *UNITS.glob("*.socket")])


@pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.name)
def test_every_directive_of_the_units_is_a_known_protection_or_plain(unit):
    named = set(re.findall(r"^([A-Z]\w+)=", unit.read_text(), flags=re.MULTILINE))

    assert named - PLAIN - PROTECTIONS.keys() == set()


@pytest.mark.parametrize(
    ("unit", "properties", "directives"),
    [
        ("[Service]\nProtectClock=yes\nPrivateIPC=yes\n", {"ProtectClock": "yes"}, ["PrivateIPC="]),
        ("[Service]\nProtectClock=yes\n", {"ProtectClock": "yes"}, []),
        ("[Service]\n#ProtectClock=yes\nType=notify\nProtectClock\n", {}, []),
        ("ProtectProc=invisible\nLockPersonality=yes\nProtectProc=default\n", {}, ["LockPersonality=", "ProtectProc="]),
        (
            "SystemCallFilter=@system-service\nSystemCallFilter=~@resources",
            {"SystemCallFilter": "~swapon"},
            ["SystemCallFilter=@system-service"],
        ),
        ("SystemCallFilter=@system-service\nSystemCallFilter=~@resources", {"SystemCallFilter": "read write"}, []),
        ("SystemCallFilter=~@resources", {"SystemCallFilter": "~swapon"}, []),
    ],
)
def test_protections_that_are_no_property_are_lost(unit, properties, directives):
    assert [loss.directive for loss in lost(unit, properties)] == directives


def test_a_lost_protection_has_its_version_and_its_effect():
    assert lost("ProtectClock=yes", {}) == (
        Lost("ProtectClock=", 245, "only the capabilities keep the process from setting the clock"),
    )


def test_protections_are_counted_once_each():
    assert known("[Service]\nProtectClock=yes\nSystemCallFilter=a\nSystemCallFilter=b\nType=notify\nnonsense") == 2
