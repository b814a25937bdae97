"""The arms of the retrieval model: where the scale of a score lives, and what stands in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnbench.ablate.tasks import RetrievalTask
from attnbench.ablate.training import drawn_parameters
from attnbench.attention.arrays import Array
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.learning import Retrieval, score_shapes
from attnbench.errors import UsageError, not_one_of

MODEL_SIZE = 64
VALUE_SIZE = 64
SOFTCAP = 50.0


@dataclass(frozen=True)
class ScoringArm:
    """One way to score, for head size d and model size M: its spec, and the factor on the deviation of Wq."""

    scale: float | str = "none"
    score: str = "dot"
    softcap: float | None = None
    init: float = 1.0


def arm(name: str, d: int, model_size: int = MODEL_SIZE) -> ScoringArm:
    """An arm by name; ``UsageError`` for another name."""
    root = 1.0 / math.sqrt(d)
    known = {
        "unscaled": ScoringArm(),
        "1/sqrt(d)": ScoringArm(scale=root),
        "8/d": ScoringArm(scale=8.0 / d),
        "folded": ScoringArm(init=root),
        "folded and scaled": ScoringArm(scale=root, init=root),
        "sqrt(d_model)": ScoringArm(scale=1.0 / math.sqrt(model_size)),
        "qk-norm": ScoringArm(score="cosine"),
        "softcap": ScoringArm(softcap=SOFTCAP),
        "additive": ScoringArm(score="additive"),
    }
    if name not in known:
        raise UsageError(not_one_of("arm", name, known))
    return known[name]


def build(
    name: str, d: int, seed: int, task: RetrievalTask, dtype: str = "float32", model_size: int = MODEL_SIZE
) -> tuple[Retrieval, dict[str, Array]]:
    """The model of an arm and its first parameters.

    Every W has the variance 1/fan-in, so that with embeddings of variance 1 the components of q and k have variance 1.
    Additive attention projects with its own W_q and W_k, whose values are those of the other arms.
    """
    chosen = arm(name, d, model_size)
    spec = AttentionSpec(score=chosen.score, scale=chosen.scale, softcap=chosen.softcap)
    projected = chosen.score != "additive"
    m, root = model_size, 1.0 / math.sqrt(model_size)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.keys": (task.keys, m),
        "embed.values": (task.values, m),
        "Wq": (m, d),
        "Wk": (m, d),
        "Wv": (m, VALUE_SIZE),
        "Wo": (VALUE_SIZE, task.values),
        "bo": (task.values,),
    }
    deviations = {"embed.keys": 1.0, "embed.values": 1.0, "Wq": root * chosen.init, "Wk": root, "Wv": root}
    deviations |= {"Wo": 1.0 / math.sqrt(VALUE_SIZE), "score.v": 1.0 / math.sqrt(d)}
    parameters = drawn_parameters(seed, shapes, deviations, dtype)
    if not projected:
        parameters |= {f"score.{part}": parameters.pop(part)[None] for part in ("Wq", "Wk")}
    rest = {n: s for n, s in score_shapes(spec, d if projected else m, d).items() if n not in parameters}
    parameters |= drawn_parameters(seed, rest, deviations, dtype)
    if "score.temperature" in parameters:
        # Cosines of random vectors have the deviation 1/√d, so that √d gives scores the variance 1 as 1/√d does.
        parameters["score.temperature"] += np.asarray(math.sqrt(d), parameters["score.temperature"].dtype)
    return Retrieval(spec, projected), parameters


def build_heads(
    heads: int, d: int, seed: int, task: RetrievalTask, dtype: str = "float32", model_size: int = MODEL_SIZE
) -> tuple[Retrieval, dict[str, Array]]:
    """The model with several heads of head size d, scaled by 1/√d, and its first parameters.

    The values of all heads together have ``model_size`` components, however many heads there are.
    """
    if model_size % heads:
        msg = f"{heads} heads do not share {model_size} components of values evenly; choose a divisor of {model_size}"
        raise UsageError(msg)
    m, root = model_size, 1.0 / math.sqrt(model_size)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.keys": (task.keys, m),
        "embed.values": (task.values, m),
        "Wq": (task.questions * m, heads * d),
        "Wk": (m, heads * d),
        "Wv": (m, m),
        "Wo": (m, task.questions * task.values),
        "bo": (task.questions * task.values,),
    }
    deviations = {"embed.keys": 1.0, "embed.values": 1.0, "Wq": root / math.sqrt(task.questions)}
    deviations |= {"Wk": root, "Wv": root, "Wo": root}
    return Retrieval(AttentionSpec(), heads=heads), drawn_parameters(seed, shapes, deviations, dtype)


def first_variances(parameters: Mapping[str, Array], batch: Mapping[str, Array]) -> dict[str, float]:
    """``q_variance`` and ``k_variance`` of the projected components before any training, over one batch."""
    p = {name.removeprefix("score."): array.astype(np.float64) for name, array in parameters.items()}
    slots = (p["embed.keys"][batch["keys"]] + p["embed.values"][batch["values"]]) * math.sqrt(0.5)
    query = p["embed.keys"][batch["query"]]
    wq, wk = (p[name].reshape(p[name].shape[-2:]) for name in ("Wq", "Wk"))
    return {"q_variance": float((query @ wq).var()), "k_variance": float((slots @ wk).var())}
