"""Facts list the certificates of each file in the order of the file."""

from labs.values import PEERS_CA, facts, stored


def test_facts_list_certificates_by_path():
    first, second = (stored(PEERS_CA, "/bundle.crt", "ca", index=index) for index in range(2))
    other = stored(PEERS_CA, "/other.crt", "ca")
    looked = facts((first, other, second))
    assert looked.by_path == {
        "/bundle.crt": (first.certificate, second.certificate),
        "/other.crt": (other.certificate,),
    }
    assert facts(()).by_path == {}
