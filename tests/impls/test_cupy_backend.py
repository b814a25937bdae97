"""The CuPy backend on a stand-in for CuPy, in programs of their own; no GPU has run it yet.

What the stand-in is and refuses stands in ``tests/impls/standin/cupy.py``.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.impls.against_oracle import fresh_process
from tests.repository import REPOSITORY

STANDIN = REPOSITORY / "tests" / "impls" / "standin"
PATH = os.pathsep.join([str(STANDIN), str(REPOSITORY)])
THERE = f"import cupy; assert cupy.__file__.startswith({str(STANDIN)!r}), cupy\n"

AGREES = """
from dataclasses import replace
import numpy as np
from attnbench.api.suites import AttentionSpec, Problem
from tests.impls.against_oracle import check

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, Da=4, seed=1)
SPECS = [
    *(AttentionSpec(score=score) for score in ("dot", "general", "concat", "cosine")),
    AttentionSpec(score="additive", softcap=1.0),
    AttentionSpec(scale=(0.1, -0.2, 0.0, 1.0)),
    AttentionSpec(scale="log_n", causal=True, align="bottom_right"),
    AttentionSpec(window=(3, 2), align="bottom_right"),
    AttentionSpec(dropout=0.3),
]
OPERANDS = [
    (),
    ("mask_dead_rows", "sinks"),
    ("bias_minus_inf", "q_lengths", "kv_lengths", "segments"),
    ("slopes", "offsets", "bias_keys"),
    ("bias", "nan_value"),
]
for dtype in ("float64", "float32", "bfloat16", "float16"):
    for operands in OPERANDS:
        for spec in SPECS:
            spec = replace(spec, align=None) if "offsets" in operands else spec
            check("cupy/naive", spec, replace(SMALL, dtype=dtype, operands=operands), device="cuda")
print("agrees")
"""


def program(text: str) -> str:
    return fresh_process(THERE + text, PYTHONPATH=PATH)


def test_naive_agrees_with_the_oracle_on_the_whole_spec() -> None:
    assert program(AGREES) == "agrees"


def test_check_runs_it_in_workers_on_the_device(tmp_path: Path) -> None:
    words = ("check", "cupy/naive", "--device", "cuda", "--quick", "--dtype", "float32", "--json", "-q")
    rows = ("--features", "lengths,additive,rule_3,deterministic")
    environment = {**os.environ, "PYTHONPATH": PATH, "ATTNBENCH_LOCK": str(tmp_path / "lock")}
    done = subprocess.run(
        [sys.executable, "-m", "attnbench", *words, *rows],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {row["feature"]: row for row in json.loads(done.stdout)["rows"]}
    assert set(rows[1].split(",")) <= set(seen)
    assert {row["status"] for row in seen.values()} == {"ok"}, seen
    assert seen["deterministic"]["answer"] == "yes"


ADAPTER = """
import numpy as np
from attnbench.api.suites import AttentionSpec, Case, Problem
from attnbench.backends.attend import resolve
from attnbench.backends.bind import bind_case
from attnbench.measure.clock.clock import Clock
from attnbench.measure.clock.memory import peak_of_call
adapter, naive = resolve("cupy/naive")
said = {"versions": adapter.versions(), "devices": adapter.devices(), "name": adapter.device_name("cuda")}
said["threads"] = adapter.threads()
binding = bind_case(adapter, naive, Case(AttentionSpec(), Problem(B=1, Hq=2, Tq=64, D=8), "backward"), "cuda")
first = binding.answer()
memory = peak_of_call(binding)
said["peak"], said["source"] = memory.peak_bytes, memory.source
said["hooks"] = list(cupy.cuda.MemoryHook.entered)
watch = adapter.stopwatch("cuda")
for _ in range(2):
    watch.start()
    binding.run()
    watch.stop()
said["elapsed"] = [0 < s < 10 for s in watch.elapsed_s()], watch.elapsed_s()
adapter.flusher("cuda")()
said["ceilings"] = [adapter.ceiling(*each, "cuda")().shape if each[0] != "copy" else adapter.ceiling(*each, "cuda")()
    for each in (("product", "float16", 8), ("copy", "float32", 64), ("exp", "float32", 5))]
array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
native = adapter.to_native(array, "cuda")
array[:] = 0
for layout in ("transposed", "padded", "step", "offset"):
    laid = adapter.laid_out(native, layout)
    assert (adapter.to_numpy(laid) == adapter.to_numpy(native)).all(), layout
    assert layout == "offset" or laid.strides != native.strides, layout
expanded = adapter.laid_out(native, "expanded")
assert expanded.strides[0] == 0 and not adapter.overwrite(expanded, array)
assert adapter.overwrite(native, array + 1) and (adapter.to_numpy(native) == 1).all()
print(said)
"""


def test_the_adapter_does_what_the_harness_asks() -> None:
    said = ast.literal_eval(program(ADAPTER))
    assert said["versions"] == {"cupy": "14.0.0+standin", "cuda": "13000"}
    assert said["devices"] == ("cuda",)
    assert said["name"] == "Stand-in"
    assert said["threads"] == {"host": 1}
    # A score, and what is made of it, are 2 · 64 · 64 floats each; a whole pass holds some of them.
    assert 4 * 2 * 64 * 64 * 4 < said["peak"] < 60 * 2 * 64 * 64 * 4
    assert said["source"] == "allocator"
    assert said["hooks"] == []
    assert said["elapsed"] == ([True, True], [])
    assert said["ceilings"] == [(8, 8), None, (5,)]


CLAIMS = """
from attnbench.backends.attend import resolve
from tests.impls.claims import lies
print(lies(*resolve("cupy/naive"), "cuda"))
"""


def test_what_it_claims_holds() -> None:
    assert program(CLAIMS) == "[]"


REFUSES = """
import ml_dtypes
import numpy as np
x = cupy.array(np.ones((2, 2), np.float32))
half = cupy.array(np.ones(2).astype(ml_dtypes.bfloat16))
for number, refused in enumerate((
    lambda: np.asarray(x),
    lambda: np.array(x),
    lambda: x + np.ones((2, 2), np.float32),
    lambda: np.ones((2, 2), np.float32) + x,
    lambda: np.where(np.ones((2, 2), bool), x, 0),
    lambda: x * np.float64(2),
    lambda: np.linalg.norm(x),
    lambda: np.take_along_axis(x, x, 0),
    lambda: np.ones(2, like=x),
    lambda: half + half,
    lambda: cupy.array(np.array(["a"])),
    lambda: x[np.array([0])],
    lambda: x.nonzero(),
)):
    try:
        refused()
    except (TypeError, ValueError, AttributeError):
        continue
    raise SystemExit(f"{number} was not refused")
assert type(np.exp(x)) is type(np.arange(2, like=x)) is cupy.ndarray
print(float((np.float32(2) * x).sum()))
"""


def test_the_stand_in_refuses_what_cupy_refuses() -> None:
    assert program(REFUSES) == "8.0"


FAULT = """
import types
import numpy as np
from attnbench.impls.numpy_backend import naive
naive.np = types.SimpleNamespace(**{**vars(np), "arange": lambda n, like: np.arange(n)})
"""


def test_an_array_of_the_formula_that_numpy_alone_makes_is_seen() -> None:
    """With NumPy's arrays it would pass."""
    with pytest.raises(AssertionError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        program(FAULT + AGREES)


def test_its_adapter_is_short() -> None:
    assert len((REPOSITORY / "impls" / "cupy_backend" / "adapter.py").read_text("utf-8").splitlines()) < 150


def test_what_is_declared_is_read_without_cupy() -> None:
    asked = "import sys, attnbench.impls.cupy_backend.naive as n; print(n.CAN.devices, 'cupy' in sys.modules)"
    assert fresh_process(asked) == "('cuda',) False"
