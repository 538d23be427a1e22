"""Three real kubeadm 1.20 masters of one cluster, with stacked etcd members (`./dev real three`). README.md has what was seen."""

import os

import pytest

from labs.joined import start_masters

pytestmark = [
    pytest.mark.long,
    pytest.mark.real,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: boots whole machines"),
]


@pytest.fixture(scope="module")
def booted(debs):
    with start_masters(debs) as made:
        yield made


def test_three_masters_work_and_send_nothing(booted):
    booted.wait_until_works()
    with booted.measure() as measured:
        booted.wait_until_works()
    assert {key: len(times) > 3 for key, times in measured.written.items()} == dict.fromkeys(measured.written, True)
    assert [len(master.messages()) for master in booted] == [0, 0, 0]
