"""The packages of this tree, for every real master."""

import pytest

from labs import packages


@pytest.fixture(scope="session")
def debs(tmp_path_factory):
    source = packages.tree(tmp_path_factory.mktemp("source"))
    out = packages.build(source, tmp_path_factory.mktemp("dist"))
    return sorted(out.glob("certmedic_*.deb"))
