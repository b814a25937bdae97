"""Keras: three backends of one folder, of which a process has one; its public functions, brought to the spec."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.backends import discover
from attnbench.versions import installed
from tests.impls.against_oracle import fresh_process
from tests.repository import REPOSITORY

SIDES = ("torch", "jax", "numpy")
needs_keras = pytest.mark.skipif(installed("keras") is None, reason="needs Keras, which the extra keras brings")

ANSWERS = """
import logging, sys, numpy as np, attnbench as ab
from attnbench.backends.attend import load_backend
side = "{side}"
draw = np.random.default_rng(0).standard_normal
q, k, v = (draw(shape, np.float32) for shape in ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)))
logged = []
handler = logging.Handler()
handler.emit = lambda record: logged.append(record.getMessage())
for name in ("", "absl"):
    logging.getLogger(name).addHandler(handler)


def asks():
    top = ab.AttentionSpec(causal=True, align="top_left", scale=-0.3)
    bottom = ab.AttentionSpec(causal=True, align="bottom_right")
    lengths = dict(kv_lengths=np.array([3, 0], np.int32), q_lengths=np.array([5, 2], np.int32))
    yield "ops", ab.AttentionSpec(), {{}}
    yield "ops", top, {{}}
    yield "ops", ab.AttentionSpec(causal=True, align="top_left", scale=0.0), {{}}
    yield "ops", bottom, lengths
    low = draw((2, 1, 5, 7)).astype(np.float32)
    low[:, :, 0], low[0, 0, 1, 2:], low[0, 0, 2, :3] = -np.inf, -np.inf, np.finfo(np.float32).min
    yield "ops", ab.AttentionSpec(), dict(bias=low, mask=draw((1, 4, 5, 7)) > 0)
    yield "attention", top, lengths
    for score in ("additive", "concat"):
        spec = ab.AttentionSpec(score=score, scale=0.7)
        params = ab.default_params(spec, heads=4, d=8)
        yield "additive", spec, dict(params=params, **lengths)
        yield "additive", spec, dict(params={{name: array[:1] for name, array in params.items()}})


def flat(grads):
    return {{n: a for n, a in grads.items() if n != "params"}} | dict(grads.get("params", {{}}))


ab.attend(q, k, v, impl=f"keras_{{side}}/ops", threads=1)  # verified; XLA's pool stays so
for name, spec, given in asks():
    impl = f"keras_{{side}}/{{name}}"
    expected = ab.attend(q, k, v, spec=spec, **given).output
    np.testing.assert_allclose(ab.attend(q, k, v, impl=impl, spec=spec, **given).output, expected, atol=5e-6)
    if side != "numpy":
        right, seen = (flat(ab.vjp(q, k, v, expected, impl=i, spec=spec, **given)) for i in ("numpy/naive", impl))
        for operand in right:
            np.testing.assert_allclose(seen[operand], right[operand], atol=3e-5, err_msg=f"{{name}} {{operand}}")
print(load_backend(f"keras_{{side}}").keras.config.backend(), logged, "tensorflow" in sys.modules)
"""


@needs_keras
@pytest.mark.parametrize("side", SIDES)
def test_answers_and_gradients_are_those_of_the_spec(side: str) -> None:
    """In a process of its own; and Keras logs nothing, as it does where it falls back to a formula of its own."""
    pytest.importorskip(side)
    assert fresh_process(ANSWERS.format(side=side)) == f"{side} [] False"


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")} | environment
    return subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)


ASK = "import numpy as np, attnbench as ab; q = np.ones((1, 1, 2, 2), np.float32); "


@needs_keras
def test_another_side_in_the_same_process_says_what_to_type() -> None:
    program = f"{ASK} ab.attend(q, q, q, impl='keras_numpy/ops'); ab.attend(q, q, q, impl='keras_jax/ops')"
    assert run(program).stderr.strip().splitlines()[-1] == (
        "attnbench.errors.UsageError: Keras is imported already in this process, on numpy, and it has one backend in a "
        "process; keras_jax needs jax: start another process with KERAS_BACKEND=jax python YOUR_PROGRAM"
    )


@needs_keras
def test_what_the_user_set_is_not_overruled() -> None:
    said = run(f"{ASK} ab.attend(q, q, q, impl='keras_numpy/ops')", KERAS_BACKEND="jax").stderr
    assert said.strip().splitlines()[-1] == (
        "attnbench.errors.UsageError: KERAS_BACKEND=jax is set, and keras_numpy needs Keras on numpy; start another "
        "process with KERAS_BACKEND=numpy python YOUR_PROGRAM"
    )


@needs_keras
def test_nothing_is_left_behind_in_the_home_nor_in_the_environment(tmp_path: Path) -> None:
    look = "import os; print({n: x for n, x in os.environ.items() if n.startswith('KERAS_')})"
    done = run(f"{ASK} ab.attend(q, q, q, impl='keras_numpy/ops'); {look}", HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert done.stdout.strip() == "{}", done.stderr
    assert [path.name for path in tmp_path.iterdir() if "keras" in path.name] == []


def test_what_is_declared_is_read_without_keras() -> None:
    names = [name for side in SIDES for name in discover.backend(f"keras_{side}").names()]
    program = (
        "import sys; from attnbench.backends import discover; "
        f"loaded = [discover.load_implementation(name).name for name in {names}]; "
        "print(loaded, sorted({'keras', 'torch', 'jax'} & set(sys.modules)))"
    )
    if installed("keras") and installed("torch") and installed("jax"):
        assert fresh_process(program) == f"{names} []"


@pytest.mark.parametrize("side", SIDES)
def test_a_worker_has_its_backend_before_the_import(side: str) -> None:
    card = discover.backend(f"keras_{side}")
    assert card.process_environment(2)["KERAS_BACKEND"] == side
    assert card.also == (() if side == "numpy" else (side,))


def test_what_is_missing_beside_keras_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else name)
    assert discover.backend("keras_torch").why_missing() == (
        "torch is not installed: pip install 'attnbench[keras,torch]'"
    )
    assert discover.backend("keras_numpy").available()


@needs_keras
@pytest.mark.parametrize("side", ["torch", "jax"])
def test_a_bias_that_keras_would_round_is_refused(side: str) -> None:
    pytest.importorskip(side)
    program = (
        "import ml_dtypes, numpy as np, attnbench as ab; q = np.ones((1, 1, 2, 2), ml_dtypes.bfloat16); "
        f"ab.attend(q, q, q, impl='keras_{side}/ops', bias=np.ones((1, 1, 2, 2), np.float32))"
    )
    said = "Keras casts a bias to the dtype of q: float32 would be rounded to bfloat16"
    assert said in run(program).stderr


def test_only_what_keras_publishes_is_imported() -> None:
    folder = REPOSITORY / "impls" / "keras_backend"
    texts = {file.name: file.read_text("utf-8") for file in folder.glob("*.py")}
    assert texts
    assert [name for name, text in texts.items() if "keras.src" in text] == []


@needs_keras
def test_a_masked_key_in_float16_is_not_attended_whatever_its_logit() -> None:
    """Keras on PyTorch adds −45,850 to it: less than its logit exceeds the other here."""
    pytest.importorskip("torch")
    program = (
        "import numpy as np, attnbench as ab; q, k = np.ones((1, 1, 1, 1), 'f2'), np.array([[[[0], [60000]]]], 'f2'); "
        "given = dict(spec=ab.AttentionSpec(scale=1.0), kv_lengths=np.array([1], np.int32)); "
        "print(ab.attend(q, k, np.array([[[[1], [2]]]], 'f2'), impl='keras_torch/ops', **given).output.item())"
    )
    assert run(program).stdout.strip() == "1.0"
