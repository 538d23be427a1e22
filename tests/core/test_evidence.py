"""Facts know the certificates of each file, in their order."""

from labs.values import PEERS_CA, facts, stored


def test_certificates_of_a_file_by_its_path():
    first, second = (stored(PEERS_CA, "/bundle.crt", "ca", index=index) for index in range(2))
    other = stored(PEERS_CA, "/other.crt", "ca")
    looked = facts((first, other, second))
    assert looked.by_path == {
        "/bundle.crt": (first.certificate, second.certificate),
        "/other.crt": (other.certificate,),
    }
    assert facts(()).by_path == {}
