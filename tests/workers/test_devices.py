"""Devices that a framework does not have here, in sentences: also where it has none at all, as CuPy without a GPU."""

from __future__ import annotations

import pytest

from attnbench.errors import device_not_there
from attnbench.suite import Cell
from attnbench.workers import devices, gpus


@pytest.mark.parametrize(("there", "said"), [((), "none here"), (("cpu",), "cpu")])
def test_what_a_framework_has_is_said_where_it_lacks_a_device(
    there: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "devices_of", lambda _: there)
    monkeypatch.setattr(gpus, "gpu_in_sight", lambda: True)
    cell = Cell("smoke", {}, None, "numpy/naive", device="cuda")
    assert devices.lacking([cell]) == {cell.id: f"device cuda is not there; numpy has {said}"}
    assert (devices.nowhere("cuda", ["numpy"]) or "").endswith(f"nothing is checked on it: numpy has {said}")
    assert gpus.why_not_here("numpy", "cuda") == f"needs cuda; numpy has {said.removesuffix(' here')} here"
    assert device_not_there("cuda", "numpy", there).endswith(f"numpy has {said}")
