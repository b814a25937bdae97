"""How far the gradient reaches: torch and jax against each other, against finite differences, and what is refused."""

from typing import Any

import numpy as np
import pytest

from attnbench.ablate import retrieval, tasks, translation
from attnbench.ablate.probe import LocalProbe
from attnbench.backends.attend import resolve
from attnbench.backends.learning import Learner, Optimiser
from attnbench.errors import UnsupportedError, UsageError

TASK = tasks.SequenceTask("reverse", 5)
LENGTH = 4


def learner(impl: str, arm: str) -> Learner:
    pytest.importorskip(impl.partition("/")[0])
    model, parameters = translation.build(arm, 0, TASK.symbols, units=6, dtype="float64")
    return LocalProbe(*resolve(impl)).learner(model, parameters, Optimiser())


def whole(count: int = 2) -> tasks.Batch:
    return TASK.draw(0, "test", count, LENGTH, LENGTH)


def test_torch_and_jax_reach_equally_far() -> None:
    first, second = (learner(impl, "additive").reach(whole()) for impl in ("torch/naive", "jax/naive"))
    for direction in ("forward", "backward"):
        assert first[direction].shape == (2, LENGTH, LENGTH)
        np.testing.assert_allclose(first[direction], second[direction], rtol=1e-9)
        assert (first[direction] > 0).all()


def test_the_reach_is_what_a_nudge_of_a_state_changes() -> None:
    """Against finite differences, in every direction of the last output's loss at the first state read."""
    jax = pytest.importorskip("jax")
    from attnbench.impls.jax_backend.doubles import doubles

    trained: Any = learner("jax/naive", "state")
    losses = jax.jit(lambda nudge: trained._network.losses(trained._parameters, dict(whole()), {"forward": nudge}))
    units, step = trained.parameters()["encoder.Wh"].shape[1], 1e-6
    slopes = []
    for unit in range(units):
        nudge = np.zeros((2, LENGTH, units))
        nudge[:, 0, unit] = step
        with doubles():
            slopes.append(np.asarray(losses(nudge) - losses(-nudge))[:, -1] / (2 * step))
    torch = learner("torch/naive", "state").reach(whole())["forward"][:, -1, 0]
    np.testing.assert_allclose(np.linalg.norm(slopes, axis=0), torch, rtol=1e-6)


def test_training_goes_on_as_if_nobody_had_asked() -> None:
    first, second = learner("torch/naive", "scaled"), learner("torch/naive", "scaled")
    first.reach(whole())
    losses = [[float(trained.step(whole())) for _ in range(3)] for trained in (first, second)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("impl", ["torch/naive", "jax/naive"])
def test_sources_of_several_lengths_are_refused(impl: str) -> None:
    batch = whole()
    batch["lengths"][0] = 2
    with pytest.raises(UsageError, match="reach is for sources of one length; here they are 2 to 4 long"):
        learner(impl, "state").reach(batch)


@pytest.mark.parametrize("impl", ["numpy/naive", "torch/naive", "jax/naive"])
def test_retrieval_has_no_reach(impl: str) -> None:
    pytest.importorskip(impl.partition("/")[0])
    task = tasks.RetrievalTask(slots=4, keys=9, values=5)
    model, parameters = retrieval.build("unscaled", 4, 0, task, "float64", 8)
    trained = LocalProbe(*resolve(impl)).learner(model, parameters, Optimiser())
    with pytest.raises(UnsupportedError, match="has no reach: it is for an EncoderDecoder in torch or jax"):
        trained.reach(task.draw(0, "test", 2))
