"""CAs of one name told apart by their key ids, and the member whose certificate is of another CA than those of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from certmedic.core.model import Certificate, Facts


def apart(leaf: Certificate, known: Sequence[Certificate]) -> str:
    """Return how the CA of a leaf differs from those `known` of the same name, for a sentence; "" if the key ids do not show it."""
    here = {ca.subject_key_id for ca in known if ca.subject == leaf.issuer and ca.subject_key_id}
    if not here or not leaf.authority_key_id or leaf.authority_key_id in here:
        return ""
    return f"both CAs are named {leaf.issuer_cn}, but its key id is {short(leaf.authority_key_id)}, in the file {', '.join(sorted(map(short, here)))}"


def odd_one_out(facts: Facts, group: str) -> str:
    """Return which member serves a certificate of another CA than all others, in a sentence; "" if none does, or none of three can be told."""
    shown = [(m.name, m.serves) for m in facts.members if m.serves is not None and m.group in ("", group)]
    keys = {name: leaf.authority_key_id for name, leaf in shown if leaf.authority_key_id}
    counted = Counter(keys.values()).most_common()
    if len(keys) < 3 or len(counted) != 2 or counted[1][1] != 1:
        return ""
    odd = next(name for name, key in keys.items() if key == counted[1][0])
    cn = next(leaf.issuer_cn for name, leaf in shown if name == odd)
    return (
        f"{odd} is the odd one out: its certificate is of a CA {cn} with key id {short(counted[1][0])},"
        f" those of the other {counted[0][1]} members of a CA with key id {short(counted[0][0])}"
    )


def short(key_id: str) -> str:
    """Return the beginning of a key id, which is enough to tell two apart."""
    return key_id[:16]
