"""The configuration as one table: each field of a section is a row with the type, default, parser and text of one key.

The default is as in TOML, and its own parser reads it. The text is the string below the field: its first paragraph goes to the
sample file, README and the manual page, the others to the manual page alone. "Example: VALUE" ends the first paragraph,
"Example: KEY = VALUE" if the key is unset by default. `./dev generate` writes these texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certmedic.config import values
from certmedic.config.setting import setting, setting_of_each, settings
from certmedic.core import planes
from certmedic.core.means import Means
from certmedic.core.model import Pager, Route, Severity
from certmedic.core.window import Window

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Which logs are read. `docker` and `pods` are None for "auto"."""

    journal: bool = setting(True, values.boolean)
    """Read the journal. Or a table: { units = ["kubelet.service"], identifiers = ["etcd"] }"""
    units: tuple[str, ...] = setting([], values.strings, "journal.units")
    """Read only entries of these systemd units.

    Lines of these units are believed like those of the control plane's units. If `journal.identifiers` is set, too, entries of
    either are read.
    """
    identifiers: tuple[str, ...] = setting([], values.strings, "journal.identifiers")
    """Read only entries with these syslog identifiers."""
    docker: bool | None = setting("auto", values.auto)
    """Read Docker's logs; "auto": once its socket exists. Or a table: { names = ["*etcd*"], labels = [] }"""
    docker_names: tuple[str, ...] = setting([], values.strings, "docker.names")
    """Read only containers whose name or pod matches one of these patterns."""
    docker_labels: tuple[str, ...] = setting([], values.strings, "docker.labels")
    """Read only containers that have one of these labels, as KEY or KEY=VALUE. If names are set, too, either suffices."""
    pods: bool | None = setting("auto", values.auto)
    """Read the files under /var/log/pods; "auto": once there are any.

    Links to Docker's own files are skipped, because they hold the same lines.
    """
    files: tuple[str, ...] = setting(list(planes.every(lambda plane: plane.logs)), values.globs)
    """Read these files, as absolute globs. The default is where kops' etcd-manager and the kubelet of RKE2 write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Which certificates are looked for, and when their expiry is reported."""

    planes: tuple[str, ...] = setting("auto", values.plane_names)
    """Control planes to look at; "auto": kops, kubeadm, k3s, rke2, etcd, microk8s, openshift."""
    paths: tuple[str, ...] = setting([], values.globs)
    """Further certificate files, as absolute globs. Example: ["/opt/etcd/tls/*.crt"]"""
    warn_days: tuple[int, ...] = setting([30, 14, 7, 3, 1], values.days)
    """Warn this many days before a certificate expires.

    There is one warning at each of these days, for each owner of certificates. An empty list gives none.
    """
    plane: Mapping[str, tuple[int, ...]] = setting_of_each(values.PLANES, {}, values.days, "plane.*.warn_days")
    """Other days for one plane. Example: plane.k3s.warn_days = [100, 14, 3]

    It suits a plane whose certificates are renewed earlier or later than those of the others.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who gets messages, and how often."""

    apprise: tuple[str | values.Secret, ...] = setting([], values.destinations)
    """Apprise's files of addresses (an example is in /usr/share/doc/certmedic/examples), "credential:NAME" for a file that systemd
    hands over, or apprise URLs. Addresses are secrets: chmod 0640 the file that holds them. Without an address, all messages are in
    the journal: journalctl -u certmedic -x. Example: ["/etc/certmedic/apprise.yml"]

    A file is named by its absolute path. For a credential, see `LoadCredentialEncrypted=` in `systemd.exec`(5).
    """
    tags: Mapping[str, str] = setting_of_each(
        tuple(Severity), {"critical": "oncall", "warning": "team", "info": "team"}, values.word, "tags.*"
    )
    """The apprise tag that gets messages of each severity. Channels without a tag get all messages."""
    route: tuple[Route, ...] = setting([], values.routes)
    """Finer than tags: the first route that fits a message decides. Example: [{ tag = "etcd", plane = "kops", severity = "critical" }]

    A route is a table with a `tag` and any of the conditions `severity`, `cause`, `plane` and `event`.
    `certmedic incidents` shows the causes; `blind` is a log that cannot be read.
    """
    pager: tuple[Pager, ...] = setting([], values.pagers)
    """PagerDuty, Opsgenie and Splunk On-Call: one incident there for one here, closed when it is resolved; see below.

    Each is a table that begins with `[[notify.pager]]`. certmedic sends every message of an incident under one key: the
    first opens an incident there, a reminder updates it, and "resolved" closes it. Through `apprise` each message would open a further incident.

    - `service`: `pagerduty` (Events API v2), `opsgenie` (alerts, API v2) or `splunk` (the REST endpoint of Splunk On-Call).

    - `key`: The file with the key of the integration: its absolute path, or "credential:NAME" for a file that systemd hands over.

    - `region`: `us` or `eu`, for PagerDuty and Opsgenie; unset, `us`.

    - `routing`: The routing key of Splunk On-Call, the last part of its endpoint.

    - `tag`: As a tag of apprise: which messages it gets, by severity and route. Unset, all but information.
    """
    zone: ZoneInfo | None = setting("", values.time_zone)
    """Write dates in this time zone, too, beside UTC. Example: "Europe/Berlin" """
    group_for: timedelta = setting("30s", values.duration)
    """Wait this long before the first message, to group the faults that belong together."""
    remind_every: timedelta = setting("6h", values.interval)
    """Remind people of an incident that lasts. Of several masters with the same fault, the next one then reports it too."""
    maintenance: tuple[Window, ...] = setting([], values.windows)
    """Send no messages in these weekly windows. Example: ["Sun 02:00-04:00 Europe/Berlin"]

    A window has hours, days if not all, and a time zone if not UTC. It holds back messages as a silence does
    (`certmedic silence`): incidents are still recorded, judged, resolved, and fixed if that is allowed.
    The end of an incident that was reported before is reported at once. Other incidents are reported when the window closes,
    if they still last. For work that does not come again, use `certmedic silence add`.
    """
    wall: bool = setting(True, values.boolean)
    """Also write critical incidents to every terminal of this machine.

    `wall`(1) does it. The service cannot reach the text consoles, but each login on this machine shows a line for each open incident.
    """
    alertmanager: tuple[values.Secret, ...] = setting([], values.web_addresses)
    """Post incidents to these instances of Alertmanager, beside `apprise` or instead of it. Example: ["https://am-1.example:9093"]

    Name every instance, and no load balancer. Open incidents are posted every minute and end by themselves after five minutes.
    Resolved ones are posted for 15 minutes. A silence or a window holds back new incidents. The routes and the inhibit rules in
    `examples/alertmanager.yml` make one notification of the reports of all masters. An address may hold a user and a password for
    basic authentication; like all addresses it is a secret. A master does not know the names of the cluster's own DNS. If
    Alertmanager runs in the cluster that it reports on, keep `apprise` as the second way.
    """
    alertmanager_token: str | None = setting(None, values.secret_file)
    """A file with a bearer token for Alertmanager. Example: alertmanager_token = "credential:alertmanager"

    A file is named by its absolute path and must be root's; "credential:NAME" is a file that systemd hands over.
    """
    alertmanager_cert: str | None = setting(None, values.secret_file)
    """A client certificate with its key, in one PEM file. Example: alertmanager_cert = "/etc/certmedic/alertmanager.pem"

    It is read for every post, so that a renewed one is used at once.
    """
    alertmanager_ca: str | None = setting(None, values.secret_file)
    """The CAs of Alertmanager; unset: those of the system. Example: alertmanager_ca = "/etc/certmedic/alertmanager-ca.pem" """
    heartbeat: values.Secret | None = setting(None, values.web_address)
    """Call this while all is well: its listener notices when the agent dies. Example: heartbeat = "https://hc.example/ID"

    It is an http or https address, and a secret as those of `apprise` are. The call carries the next expiry.
    """
    heartbeat_every: timedelta = setting("5m", values.interval)
    """Call the heartbeat this often, at most once a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where metrics are written."""

    textfile: Path | None = setting(None, values.text_file)
    """Also write the metrics here. Example: textfile = "/var/lib/prometheus/node-exporter/certmedic.prom"

    The metrics are always in `/run/certmedic/metrics.prom`, for a node exporter with `--collector.textfile.directory=/run/certmedic`
    (`/host/root/run/certmedic` if it runs in a pod that mounts `/` there). `textfile` names a second place, for a node exporter
    that reads another folder. The file ends in `.prom`. The unit lets the service write to
    `/var/lib/prometheus/node-exporter` and `/var/lib/node_exporter`. Another folder needs a drop-in with `ReadWritePaths=`, and must
    be root's. Links that another user placed on the way to it are not followed, and a folder in which everybody may write is refused.
    """
    listen: values.Endpoint | None = setting(None, values.endpoint)
    """Also show the metrics over HTTP, for a Prometheus without a node exporter. Example: listen = 9793

    A number is a port of 127.0.0.1. For another address write "ADDRESS:PORT", such as `"10.0.0.1:9793"` or `"[::1]:9793"`. The
    metrics are at `/metrics`, without TLS and without a password: whoever reaches the port reads the names of certificates and files
    of this machine. Let nobody but Prometheus reach it, or put a proxy in front. Without this key the agent listens on nothing.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyPolicy:
    """Which actions are allowed, how often, and how soon again."""

    restart: tuple[str, ...] = setting(["etcd-manager"], values.renewers)
    """The only programs that may be restarted; also "k3s", "rke2", and those of remedy.means.

    Each has the word that `certmedic certs --wide` shows under "renewed by": `etcd-manager` (its container), `k3s` (the unit
    k3s.service), `rke2` (rke2-server.service), and with a means `kubeadm`, `nodeup`, `etcd`, `operator` and `unknown`.

    Before a member of an etcd group is restarted, the agent takes a lease in that etcd, at the key `/certmedic/GROUP/acting`, so
    that two masters never act at once. The lease ends by itself. If etcd cannot be asked, handshakes with the other members decide alone.
    """
    means: tuple[Means, ...] = setting([], values.means)
    """Units and commands for programs that run in no container; see examples/remedy.toml.

    Each means is a table that begins with `[[remedy.means]]`:

    - `for`: The program, by its word in `restart`.

    - `group`: Of etcd-manager, only this etcd group (main, events, ...); unset, each group.

    - `unit`: The systemd unit that is restarted. A unit that a person has stopped is left alone. A unit of `Type=oneshot` is run.

    - `command`: Instead of a unit: a program by its absolute path, and its arguments, as a list. It has no shell, gets nothing of
    the service's environment but `CERTMEDIC_FOR`, and is killed after a minute. It runs in the actor's sandbox, without a
    network: for a program that writes to the machine or connects, a oneshot `unit` is better. If the actor is killed while the command runs, the command is not
    repeated, and a person is called unless the certificates were renewed.

    - `renews`: Your word that this renews the certificates, true or false. All but k3s and rke2 need it.
    """
    renew: bool = setting(False, values.boolean)
    """Sign leaves in place if their CA's key is here; the actor's unit needs examples/renew.conf.

    The new leaf is for the same key. Without the key of its CA on this master, nothing is signed. On kubeadm, and of nodeup's files
    on kops, it is a leaf that a running program takes up, or the certificate inside a kubeconfig; then kube-controller-manager and
    kube-scheduler are restarted. The actor may not write there until the drop-in `renew.conf` of the package certmedic-actor names the folder.
    """
    reissue: bool = setting(False, values.boolean)
    """Move expired files aside for an old etcd-manager; the actor's unit needs examples/renew.conf.

    An etcd-manager older than 3.0.20200428 keeps an expired leaf and issues a missing one. Before its restart the leaf is moved into
    the actor's state directory, if the key of its CA is on this master. If no new leaf appears, the old file is put back with its owner and mode.
    """
    cooldown: timedelta = setting("15m", values.duration)
    """Leave a container alone for this long after an action."""
    per_day: int = setting(2, values.count)
    """Act at most this often in 24 hours."""
    verify_for: timedelta = setting("3m", values.duration)
    """Call a person if the new certificate is not on disk and served by then."""
    window: Window | None = setting("", values.window)
    """Act as planned only then; empty: at any time. Example: "Sun 02:00-04:00 UTC" """
    plan_ahead: timedelta = setting(0, values.days_ahead, "plan_ahead_days")
    """Plan an action this many days before a certificate expires; 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, checked."""

    mode: str = setting("notify", values.one_of("observe", "notify", "approve", "remedy"))
    """`observe`: write to the journal only. `notify`: also send messages to the channels below. `approve`: also propose an action, and wait
    for `certmedic approve`. `remedy`: act, once for each incident, if the action is known to renew the expired certificate.

    With `approve` and `remedy`, every gate must pass; `certmedic show` lists the gates.
    """
    cluster: str = setting("", values.cluster_name)
    """The name of this cluster in messages, journal and metrics; "": as kops or kubeadm names it. Example: "prod-eu-1"

    kops has the name in /opt/kops/conf/kube_env.yaml, and kubeadm in the flag --cluster-name of the controller manager. A cluster
    that kubeadm made without a name is called "kubernetes": set this key to tell such clusters apart. k3s and RKE2 name none.
    """
    state: Path = setting("/var/lib/certmedic", values.path)
    """The service keeps its state here.

    It may write nowhere else, so another folder also needs a drop-in of the unit with `ReadWritePaths=`.
    """
    watch: Watch = field(default_factory=Watch)
    certificates: Certificates = field(default_factory=Certificates)
    notify: Notify = field(default_factory=Notify)
    metrics: Metrics = field(default_factory=Metrics)
    remedy: RemedyPolicy = field(default_factory=RemedyPolicy)


# Every key that people can write, with its parser.
KEYS = {key: row.parse for pattern, _, row in settings(Config) for key in row.keys(pattern).values()}
