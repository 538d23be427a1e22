"""Equal sightings make one fold, in any order of their times."""

from datetime import timedelta
from itertools import permutations

import pytest

from certmedic.core import symptoms
from certmedic.core.sightings import Fold, counted
from labs.values import NOW, entry


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_fold_counts_and_keeps_the_first_and_last_time(order):
    sighting = symptoms.parse(entry("remote error: tls: bad certificate"))
    fold = None
    for minute in order:
        fold = counted(fold, sighting, NOW + timedelta(minutes=minute))

    assert fold == Fold(sighting=sighting, count=3, first_seen=NOW, last_seen=NOW + timedelta(minutes=2))


def test_lines_of_two_pods_are_counted_apart():
    folds = {
        symptoms.parse(
            entry("rejected connection: remote error: tls: expired certificate", pod=pod, program="etcd")
        ).fold
        for pod in ("etcd-manager-main-a", "etcd-manager-events-a", "")
    }
    assert len(folds) == 3
