"""Learners: gradients against finite differences, optimisers against torch's, and the frameworks against each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attnbench.ablate import pronunciation, retrieval, tasks, training, translation
from attnbench.ablate.probe import LocalProbe
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.implementation import AttentionOutput, Capabilities, Implementation
from attnbench.backends.learning import EncoderDecoder, Learner, Optimiser
from attnbench.errors import UnsupportedError, UsageError


def test_without_optax_jax_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    from attnbench.impls.jax_backend import adapter

    monkeypatch.setattr(adapter, "find_spec", lambda _: None)
    with pytest.raises(
        UnsupportedError, match=r"needs optax, which is not installed. Type: pip install 'attnbench\[jax\]'"
    ):
        learner("jax/naive", "unscaled", Optimiser())


TASK = tasks.RetrievalTask(slots=4, keys=9, values=5)
ARMS = ("unscaled", "folded", "qk-norm", "softcap", "additive")
HEAD, MODEL = 6, 8


def batches(count: int = 1, size: int = 7) -> list[tasks.Batch]:
    return tasks.batches(TASK.draw(0, "train", count * size), size)


def learner(impl: str | Implementation, arm: str, optimiser: Optimiser, dtype: str = "float64") -> Learner:
    model, parameters = retrieval.build(arm, HEAD, 0, TASK, dtype, MODEL)
    return LocalProbe(*resolve(impl)).learner(model, parameters, optimiser)


def losses(trained: Learner, data: list[tasks.Batch]) -> list[float]:
    return [float(trained.step(batch)) for batch in data]


@pytest.mark.parametrize("arm", ARMS)
def test_the_gradients_in_numpy_are_those_of_finite_differences(arm: str) -> None:
    trained: Any = learner("numpy/naive", arm, Optimiser())
    (batch,) = batches()
    _, gradients = trained.gradients(batch)
    start, step, rng = trained.parameters(), 1e-6, np.random.default_rng(0)
    assert set(gradients) == set(start)
    for name, gradient in gradients.items():
        direction = rng.standard_normal(start[name].shape)
        sides = []
        for sign in (1, -1):
            trained.load({**start, name: start[name] + sign * step * direction})
            sides.append(trained.gradients(batch)[0])
        expected = (sides[0] - sides[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-8), name
        assert np.abs(gradient).max() > 0, name


@pytest.mark.parametrize(("name", "clip"), [("adam", None), ("sgd", 0.05)])
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_every_framework_takes_the_same_steps(name: str, clip: float | None, backend: str) -> None:
    pytest.importorskip(backend)
    data, optimiser = batches(10), Optimiser(name, 0.01, clip)
    ours, theirs = (learner(f"{framework}/naive", "additive", optimiser) for framework in ("numpy", backend))
    np.testing.assert_allclose(losses(ours, data), losses(theirs, data), rtol=1e-6 if clip else 1e-12)
    for key, array in ours.parameters().items():
        np.testing.assert_allclose(theirs.parameters()[key], array, rtol=0, atol=1e-6 if clip else 1e-11)
    np.testing.assert_array_equal(ours.predict(data[0])["tokens"], theirs.predict(data[0])["tokens"])


def test_adam_is_that_of_torch_from_any_gradient() -> None:
    torch = pytest.importorskip("torch")
    from attnbench.impls.numpy_backend.train import Adam

    rng, ours = np.random.default_rng(0), {"p": np.linspace(-1, 1, 5)}
    theirs, rule = torch.nn.Parameter(torch.tensor(ours["p"].copy())), Adam(0.1)
    optimiser = torch.optim.Adam([theirs], lr=0.1)
    for scale in (1.0, 1e-9, 1e6, 0.0, 1.0):
        gradient = rng.standard_normal(5) * scale
        rule.update(ours, {"p": gradient})
        theirs.grad = torch.tensor(gradient)
        optimiser.step()
        np.testing.assert_allclose(ours["p"], theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("arm", ["state", "input, reversed", "additive"])
def test_the_encoder_decoder_is_the_same_in_pytorch_and_jax(arm: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    task = tasks.SequenceTask("reverse", 5)
    data = [translation.as_read(arm, batch) for batch in tasks.batches(task.draw(0, "train", 12, 1, 5), 4)]
    model, parameters = translation.build(arm, 0, 5, units=6, dtype="float64")
    learners = [
        LocalProbe(*resolve(f"{name}/naive")).learner(model, parameters, Optimiser("adam", 0.01))
        for name in ("torch", "jax")
    ]
    np.testing.assert_allclose(losses(learners[0], data), losses(learners[1], data), rtol=1e-12)
    torch, jax = (trained.predict(data[0]) for trained in learners)
    np.testing.assert_array_equal(torch["tokens"], jax["tokens"])
    assert ("weights" in torch) == (model.context == "attention")
    if "weights" in torch:
        np.testing.assert_allclose(torch["weights"], jax["weights"], atol=1e-12)
        beyond = np.arange(5) >= data[0]["lengths"][:, None, None]
        assert torch["weights"][np.broadcast_to(beyond, torch["weights"].shape)].max() == 0


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_target_may_have_other_symbols_and_another_length_than_its_source(backend: str) -> None:
    pytest.importorskip(backend)
    model, parameters = translation.build("scaled", 0, 26, answers=pronunciation.ANSWERS, units=6, dtype="float64")
    assert (len(parameters["embed.source"]), len(parameters["embed.target"])) == (26, pronunciation.ANSWERS + 1)
    words = [pronunciation.Entry("box", ((6, 1, 19, 28),)), pronunciation.Entry("eight", ((12, 30),))]
    batch = pronunciation.wide(pronunciation.batch(words), 7)
    still = LocalProbe(*resolve(f"{backend}/naive")).learner(model, parameters, Optimiser("sgd", 0.0))

    def loss(changes: dict[str, Any]) -> float:
        return float(still.step({**batch, **changes}))

    beyond = np.arange(7) >= batch["target_lengths"][:, None]
    assert loss({"target": np.where(beyond, 5, batch["target"])}) == pytest.approx(loss({}), rel=1e-12)
    assert loss({"target_lengths": batch["target_lengths"] - 1}) != pytest.approx(loss({}), rel=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_a_model_learns_and_the_same_seed_gives_the_same_bits(backend: str) -> None:
    pytest.importorskip(backend)
    data = batches(60, 32)
    optimiser = Optimiser("adam", 0.03)
    first, second = (losses(learner(f"{backend}/naive", "1/sqrt(d)", optimiser, "float32"), data) for _ in "ab")
    assert first == second
    assert np.mean(first[-5:]) < 0.5 * first[0]


def counting(right: Implementation, seen: list[tuple[int, ...]]) -> Implementation:
    def attend(q: Any, k: Any, v: Any, call: Any) -> AttentionOutput:
        seen.append(tuple(q.shape))
        output: AttentionOutput = right.attend(q, k, v, call)
        return output

    return Implementation(f"{right.backend}/counting", right.capabilities, attend, right.vjp)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_the_attention_inside_is_the_implementation_that_was_given(backend: str) -> None:
    pytest.importorskip(backend)
    seen: list[tuple[int, ...]] = []
    _, right = resolve(f"{backend}/naive")
    trained = learner(counting(right, seen), "unscaled", Optimiser())
    trained.step(batches()[0])
    assert set(seen) == {(7, 1, 1, HEAD)}


def test_what_an_implementation_cannot_do_is_refused_with_the_reason() -> None:
    _, right = resolve("numpy/naive")
    plain = Implementation("numpy/plain", Capabilities(), right.attend, right.vjp)
    with pytest.raises(UnsupportedError, match="does not support score additive"):
        learner(plain, "additive", Optimiser()).step(batches()[0])
    with pytest.raises(UnsupportedError, match="numpy/plain has no gradients"):
        learner(Implementation("numpy/plain", Capabilities(), right.attend), "unscaled", Optimiser())
    model, parameters = translation.build("dot", 0, 4, units=6)
    with pytest.raises(UnsupportedError, match="numpy trains the Retrieval model, not EncoderDecoder"):
        LocalProbe(*resolve("numpy/naive")).learner(model, parameters, Optimiser())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Optimiser("adan"), "optimiser 'adan' is not one of adam, sgd"),
        (lambda: EncoderDecoder("vector"), "context 'vector' is not one of attention, input, state"),
        (lambda: EncoderDecoder("state", AttentionSpec()), "has a spec where its context is 'attention'"),
        (lambda: retrieval.arm("1/sqrt(k)", 4), "arm '1/sqrt\\(k\\)' is not one of unscaled"),
        (lambda: translation.arm("dots"), "arm 'dots' is not one of state"),
    ],
)
def test_names_that_do_not_exist_are_said(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


class Scripted(Learner):
    """Losses and accuracies by script; the parameters count the steps."""

    def __init__(self, script: list[float], accuracies: list[float]) -> None:
        self._script, self._accuracies, self.steps = script, accuracies, 0

    def step(self, batch: Any) -> float:
        del batch
        self.steps += 1
        return self._script[self.steps - 1]

    def predict(self, batch: Any) -> dict[str, Any]:
        del batch
        return {"accuracy": np.array(self._accuracies.pop(0))}

    def parameters(self) -> dict[str, Any]:
        return {"steps": np.array(self.steps)}

    def load(self, parameters: Any) -> None:
        self.steps = int(parameters["steps"])


def fitted(script: list[float], accuracies: list[float], every: int = 1) -> tuple[Scripted, training.Training]:
    scripted = Scripted(script, accuracies)
    return scripted, training.fit(scripted, [{}] * len(script), lambda it: float(it.predict({})["accuracy"]), every)


def test_the_parameters_that_validated_best_are_kept() -> None:
    scripted, history = fitted([4.0, 2.0, 1.0, 0.5], [0.2, 0.9, 0.9, 0.4])
    assert (scripted.steps, history.chosen, history.best) == (2, 2, 0.9)
    assert history.metrics()["validation.step3"] == 0.9


def test_a_curve_has_the_mean_loss_since_the_last_point_and_the_last_step() -> None:
    _, history = fitted([4.0, 2.0, 1.0], [0.1, 0.2], every=2)
    assert [(point.step, point.loss) for point in history.curve] == [(2, 3.0), (3, 1.0)]


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    _, history = fitted([4.0, float("nan"), 1.0], [0.3, 0.1])
    assert not history.finite
    assert history.metrics() | {"train_s": 0.0} == {
        "train_s": 0.0, "chosen_step": 1.0, "finite": 0.0, "loss.step1": 4.0, "validation.step1": 0.3,
        "validation.step2": 0.1,
    }  # fmt: skip


def test_arms_share_what_they_have_in_common() -> None:
    _, scaled = retrieval.build("1/sqrt(d)", HEAD, 3, TASK, "float64")
    _, additive = retrieval.build("additive", HEAD, 3, TASK, "float64")
    _, folded = retrieval.build("folded", HEAD, 3, TASK, "float64")
    for name in ("embed.keys", "Wv", "Wo"):
        np.testing.assert_array_equal(scaled[name], additive[name])
    np.testing.assert_array_equal(scaled["Wq"], additive["score.Wq"][0])
    np.testing.assert_allclose(scaled["Wq"] / np.sqrt(HEAD), folded["Wq"])
    _, other = retrieval.build("1/sqrt(d)", HEAD, 4, TASK, "float64")
    assert not np.array_equal(scaled["Wq"], other["Wq"])


def test_folded_and_scaled_start_alike() -> None:
    (batch,) = batches()
    first = [learner("numpy/naive", arm, Optimiser()).step(batch) for arm in ("folded", "1/sqrt(d)", "unscaled")]
    assert first[0] == pytest.approx(first[1], rel=1e-12)
    assert abs(first[0] - first[2]) > 1e-3


def test_components_of_q_and_k_have_variance_one_before_training() -> None:
    task = tasks.RetrievalTask()
    for arm, expected in (("unscaled", 1.0), ("additive", 1.0), ("folded", 1 / 256)):
        _, parameters = retrieval.build(arm, 256, 0, task)
        variances = retrieval.first_variances(parameters, task.draw(0, "train", 256))
        assert variances["q_variance"] == pytest.approx(expected, rel=0.2)
        assert variances["k_variance"] == pytest.approx(1.0, rel=0.2)


def test_parameters_are_matched_to_five_per_cent() -> None:
    sizes = [training.count(translation.build(arm, 0, 16)[1]) for arm in translation.ARMS]
    assert max(sizes) < 1.05 * min(sizes)
    for d in (16, 64, 256):
        counts = [training.count(retrieval.build(arm, d, 0, tasks.RetrievalTask())[1]) for arm in ("unscaled", *ARMS)]
        assert max(counts) < 1.05 * min(counts)


def test_only_the_tokens_that_count_are_counted() -> None:
    tokens, target = np.array([[1, 2, 9], [3, 9, 9]]), np.array([[1, 5, 0], [3, 0, 0]])
    assert training.token_accuracy(tokens, target, np.array([2, 1])) == pytest.approx(2 / 3)


def test_a_reversed_source_keeps_its_padding_behind() -> None:
    batch = {"source": np.array([[1, 2, 3, 0], [4, 0, 0, 0]]), "lengths": np.array([3, 1]), "target": np.zeros((2, 4))}
    assert translation.as_read("input, reversed", batch)["source"].tolist() == [[3, 2, 1, 0], [4, 0, 0, 0]]
    assert translation.as_read("input", batch) is batch
