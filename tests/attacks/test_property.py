"""Whatever strangers write, the agent decides, sends, reads and connects as it would without them."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from certmedic.config import Config, Notify, RemedyPolicy
from certmedic.core.model import Severity, Trust
from labs.played import ME, OWN_TIME, REFUSED, REFUSING, SERVER, Lab, Played, sick
from labs.strangers import strange, trusted
from labs.values import container, member

TEXTS = [
    REFUSED.format(40001),
    REFUSING.format(40001),
    OWN_TIME.format(1),
    "existing certificate not valid after 2026-11-19T15:30:41Z; will regenerate",
    f"ClientTLS: cert = {ME}, key = x, ca = , trusted-ca = {SERVER}",
    "ClientTLS: cert = /tmp/x.crt, key = /tmp/x.key, ca = , trusted-ca = /tmp/ca.crt",
    "open /tmp/`id`.crt: x509: certificate has expired or is not yet valid",
    "http: TLS handshake error from 10.0.0.2:40001: remote error: tls: expired certificate",
]
NAMES = st.sampled_from(
    ["", "etcd", "etcd-manager", "kubelet", "kube-apiserver", "etcd-manager-main-ip-10-0-0-1", "web"]
)
LINES = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=200),
    st.builds(lambda a, b: a + b, st.sampled_from(TEXTS), st.text(max_size=20)),
)
STREAMS = st.sampled_from(
    ["journal", "pod:/var/log/pods/tenant_etcd-manager_1/etcd/0.log", "docker:c9", "file:/tmp/etcd.log"]
)
ITEMS = st.builds(
    lambda text, stream, program, pod, name, unit: {
        "text": text, "stream": stream, "program": program, "pod": pod, "container": name, "unit": unit,
    },
    LINES, STREAMS, NAMES, NAMES, NAMES, NAMES,
)  # fmt: skip
# The lines of strangers in each second of the story; most seconds have none.
STORIES = st.lists(st.lists(ITEMS, max_size=3), max_size=40)


class Watched(Played):
    """A simulated machine that records the origins that it was asked to learn from."""

    def learn(self, origin):
        self.learnt = [*getattr(self, "learnt", []), origin]


def play(folder, files, story):
    """Run the same true story together with the lines of strangers; return all that the agent did."""
    world = Watched(files=files, containers=(replace(container(), trust=Trust.SYSTEM),))
    config = Config(
        mode="remedy",
        notify=Notify(group_for=timedelta(seconds=2)),
        remedy=RemedyPolicy(verify_for=timedelta(seconds=30)),
    )
    lab = Lab(world, folder, config)
    try:
        for second in range(60):
            lab.now += timedelta(seconds=1)
            items = [strange(at=lab.now, **words) for words in (story[second] if second < len(story) else [])]
            if lab.ails and second >= 5 and second % 3 == 0:
                items.append(trusted(REFUSED.format(40000 + second), at=lab.now))
            lab.loop.step(items, lab.now)
        return {
            "restarts": [target.id for target in world.restarts],
            "renewed": world.renewed,
            "aside": sorted(world.aside),
            "sent": world.sent,
            "acts": [(act.target, act.state) for act in lab.store.acts()],
            "tripped": lab.store.tripped(),
            "learnt": [origin for origin in getattr(world, "learnt", []) if origin.trust is not Trust.SYSTEM],
            "above info": sorted(
                (incident.diagnosis.key, str(incident.diagnosis.severity), incident.state)
                for incident in lab.incidents()
                if incident.diagnosis.severity is not Severity.INFO
            ),
        }
    finally:
        lab.store.close()


# No shrinking: one story takes a second.
@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=STORIES, ill=st.booleans())
def test_strangers_change_nothing(tmp_path_factory, story, ill):
    folder = tmp_path_factory.mktemp("played")
    files = sick() if ill else member()
    assert play(folder / "with", files, story) == play(folder / "without", files, [])
