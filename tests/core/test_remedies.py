"""A remedy contains a command only if the path needs no quoting."""

import pytest

from certmedic.core import remedies
from certmedic.core.model import Cause
from labs.values import CLIENTS_CA, DAY, NOW, OLD_IMAGE, VOLUME, container, facts, stored


def expired_at(path):
    leaf = CLIENTS_CA.leaf("etcd-a", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    return stored(leaf, path, "server", ca_path=f"{VOLUME}/clients/ca.crt", ports=(4001,))


@pytest.mark.parametrize("image", ["new", OLD_IMAGE])
@pytest.mark.parametrize(("name", "is_plain"), [("server.crt", True), ("ser ver$(id).crt", False)])
@pytest.mark.parametrize("cause", [Cause.EXPIRED, Cause.KEY_MISMATCH])
def test_no_command_contains_a_path_with_unusual_characters(cause, image, name, is_plain):
    path = f"{VOLUME}/clients/{name}"
    looked = facts(containers=(container(image=image),) if image == OLD_IMAGE else None)
    remedy = remedies.for_own(cause, [expired_at(path)], looked)
    needs_the_path = cause is Cause.KEY_MISMATCH or image == OLD_IMAGE
    assert (path in remedy.command) is (is_plain and needs_the_path)
    assert remedy.why.endswith(remedies.UNTYPABLE) is (needs_the_path and not is_plain)
