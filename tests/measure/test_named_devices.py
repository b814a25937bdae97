"""The rooflines of GPUs by their names."""

from __future__ import annotations

import pytest

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import UsageError
from attnbench.measure.clock.named import devices, foretold, named_device
from tests.program import Cli

LONG = Case(AttentionSpec(), Problem(B=4, Hq=32, Tq=4096, D=128, dtype="bfloat16"), "forward")


def test_every_device_says_where_its_numbers_stand() -> None:
    assert set(devices()) == {"A100", "H100", "H200", "B200"}
    assert all("data sheet" in device.source for device in devices().values())
    assert all(device.peaks["bfloat16"] > 10 * device.peaks["float32"] for device in devices().values())


def test_the_floor_is_what_the_slowest_part_takes() -> None:
    (row,) = foretold([("long", LONG)], named_device("h100"))
    flops = 4 * 4 * 32 * 4096 * 4096 * 128
    assert row.flops == flops
    assert row.least_s == pytest.approx(flops / 989e12)
    assert row.limit == "products"
    one = Case(AttentionSpec(), Problem(Hq=8, Tq=1, S=4096, D=128, dtype="bfloat16"))
    (decode,) = foretold([("one", one)], named_device("H200"))
    assert decode.limit == "memory"
    assert decode.least_s == pytest.approx(decode.min_bytes / 4.8e12)


def test_exponentials_may_be_what_bounds_a_small_head() -> None:
    small = Case(AttentionSpec(), Problem(B=4, Hq=32, Tq=4096, D=16, dtype="float16"), "forward")
    assert foretold([("small", small)], named_device("H100"))[0].limit == "exponentials"
    assert foretold([("small", small)], named_device("B200"))[0].limit == "products", "no clock is known of it"


def test_another_name_is_told_those_that_there_are(cli: Cli) -> None:
    with pytest.raises(UsageError, match="A100, H100, H200, B200; did you mean 'H100'"):
        named_device("H1000")
    result = cli("precheck", "--roofline", "H1000")
    assert result.code == 2


def test_the_command_shows_the_cases_of_suite_gpu(cli: Cli) -> None:
    document = cli("precheck", "--roofline", "B200", "--json").document
    assert document["exit_code"] == 0
    told = document["roofline"]
    assert told["device"]["name"] == "B200"
    assert len(told["cases"]) > 30
    assert all(row["least_s"] > 0 and row["flops"] > 0 and row["min_bytes"] > 0 for row in told["cases"])
    assert "at least" in cli("precheck", "--roofline", "a100").out
