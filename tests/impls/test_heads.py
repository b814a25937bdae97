"""Several heads, several questions, and attention of a size: the same losses in every framework, and gradients."""

from typing import Any

import numpy as np
import pytest

from attnbench.ablate import retrieval, tasks, training, translation
from attnbench.ablate.probe import LocalProbe
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.learning import Learner, Optimiser, Retrieval
from attnbench.errors import UsageError

TASK = tasks.RetrievalTask(slots=4, keys=9, values=5, questions=3)


def learner(impl: str) -> Learner:
    pytest.importorskip(impl.partition("/")[0])
    model, parameters = retrieval.build_heads(2, 3, 0, TASK, "float64", 8)
    return LocalProbe(*resolve(impl)).learner(model, parameters, Optimiser("sgd", 0.5))


def test_the_frameworks_lose_the_same_and_answer_the_same() -> None:
    batches = tasks.batches(TASK.draw(0, "train", 4 * 6), 6)
    losses, answers = [], []
    for impl in ("numpy/naive", "torch/naive", "jax/naive"):
        trained = learner(impl)
        losses.append([float(trained.step(batch)) for batch in batches])
        answers.append(trained.predict(batches[0])["tokens"])
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-10)
    assert answers[0].shape == (6, 3)
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def test_every_question_has_the_value_beside_its_key() -> None:
    batch = TASK.draw(0, "test", 20)
    assert batch["query"].shape == batch["target"].shape == (20, 3)
    for keys, values, query, target in zip(
        *(batch[name] for name in ("keys", "values", "query", "target")), strict=True
    ):
        known = dict(zip(keys.tolist(), values.tolist(), strict=True))
        assert [known[key] for key in query.tolist()] == target.tolist()
    content = TASK._content(np.concatenate([batch["keys"], batch["values"], (batch["keys"][:, :3] * 0)], 1))
    assert content.shape == (20, 2 * TASK.slots + 3)  # what is asked for, and in which order, belongs to the example


def test_gradients_of_heads_are_those_of_finite_differences() -> None:
    trained: Any = learner("numpy/naive")
    (batch,) = tasks.batches(TASK.draw(0, "train", 5), 5)
    _, gradients = trained.gradients(batch)
    start, step, rng = trained.parameters(), 1e-6, np.random.default_rng(0)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(start[name].shape)
        sides = []
        for sign in (1, -1):
            trained.load({**start, name: start[name] + sign * step * direction})
            sides.append(trained.gradients(batch)[0])
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-6), name


def test_one_head_is_one_head() -> None:
    """Columns of a second head that read nothing change nothing."""
    batch = TASK.draw(0, "test", 6)
    model, parameters = retrieval.build_heads(1, 4, 0, TASK, "float64", 8)
    wide = dict(parameters)
    for name in ("Wq", "Wk", "Wv"):
        wide[name] = np.concatenate([parameters[name], np.zeros_like(parameters[name])], 1)
    wide["Wo"] = np.concatenate([parameters["Wo"], np.ones_like(parameters["Wo"])], 0)
    probe = LocalProbe(*resolve("numpy/naive"))
    losses = [
        float(probe.learner(network, p, Optimiser()).step(batch))
        for network, p in ((model, parameters), (Retrieval(model.spec, heads=2), wide))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_heads_that_do_not_share_evenly_and_heads_of_a_score_are_refused() -> None:
    with pytest.raises(UsageError, match="3 heads do not share 8 components of values evenly"):
        retrieval.build_heads(3, 4, 0, TASK, "float64", 8)
    with pytest.raises(UsageError, match="a Retrieval of 2 heads has projected=True"):
        Retrieval(AttentionSpec(score="additive"), projected=False, heads=2)


def test_attention_of_a_size_is_the_same_in_torch_and_jax() -> None:
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    from attnbench.impls.jax_backend.doubles import doubles

    batch = tasks.SequenceTask("reverse", 5).draw(0, "train", 3, 2, 4)
    model, parameters = translation.build("dot", 0, 5, units=6, dtype="float64", attention_size=7)
    assert parameters["attend.Wq"].shape[1] == parameters["attend.Wk"].shape[1] == 7
    first, second = (
        LocalProbe(*resolve(impl)).learner(model, parameters, Optimiser()) for impl in ("torch/naive", "jax/naive")
    )
    network: Any = vars(second)["_network"]  # its loss alone: to compile a whole step takes long
    with doubles():
        assert float(first.step(batch)) == pytest.approx(float(jax.jit(network.loss)(parameters, batch)), rel=1e-10)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_arms_of_one_attention_size_are_matched_in_parameters(size: int) -> None:
    counts = [
        training.count(translation.build(arm, 0, 16, attention_size=size)[1])
        for arm in ("dot", "scaled", "additive", "state")
    ]
    assert max(counts) < 1.05 * min(counts)
