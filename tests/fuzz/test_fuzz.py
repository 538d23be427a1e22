"""A short run of every harness; `./dev fuzz` makes long runs."""

import time

import pytest

from fuzz.harness import HARNESSES, run


@pytest.mark.parametrize("name", HARNESSES)
def test_no_input_breaks_a_parser(name):
    result = run(name, seed=7, numbers=iter(range(20_000)), until=time.monotonic() + 2.5)
    assert result.done > 20
    assert result.failures == {}
