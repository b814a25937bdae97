"""The catalogue: every entry makes valid cases that run, its figures fit together, and its page is current."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from attnbench.attention import shapes as catalogue
from attnbench.attention.call import prepare
from attnbench.attention.inputs import draw
from attnbench.attention.oracle import reference
from attnbench.attention.problem import Case
from attnbench.attention.shapes import Shape
from attnbench.commands import list_shapes as text
from attnbench.errors import UsageError
from tests.repository import DOCS

ALL = list(catalogue.shapes().values())
MODELS = [one for one in ALL if one.is_model]
PAGE = DOCS / "shapes.md"
# What the issue asks for; a name here is a model or the models whose layers are of several kinds.
WANTED = (
    *("gpt2", "gpt2-xl", "bert-base", "vit-l-16", "whisper-large/encoder", "whisper-large/cross", "t5-base"),
    *("llama-3-8b", "llama-3-70b", "mistral-7b", "gemma-2-9b", "gemma-2-27b", "qwen-2.5-7b", "deepseek-v3"),
    *("gpt-oss-20b", "gpt-oss-120b"),
)


def reduced(shape: Shape) -> Shape:
    """The same kind of layer with few heads and small sizes; a window that leaves something out."""
    group = shape.heads // shape.kv_heads
    kv_heads = 1 if group > 1 else 2
    return replace(
        shape,
        heads=kv_heads * min(group, 2),
        kv_heads=kv_heads,
        head_size=6 if shape.value_size != shape.head_size else 4,
        value_size=4,
        window=None if shape.window is None else 3,
        keys=None if shape.keys is None else 9,
    )


def name_of(shape: Shape) -> str:
    return shape.name


@pytest.mark.parametrize("wanted", WANTED)
def test_the_models_that_people_ask_about_are_there(wanted: str) -> None:
    assert [one for one in MODELS if one.name == wanted or one.name.startswith(f"{wanted}/")]


@pytest.mark.parametrize("phase", catalogue.PHASES)
@pytest.mark.parametrize("shape", ALL, ids=name_of)
def test_every_shape_makes_cases_that_the_oracle_answers(shape: Shape, phase: str) -> None:
    whole = shape.case(64, phase=phase, batch=2, dtype="bfloat16")
    assert Case.from_dict(whole.to_dict()) == whole
    assert whole.phase == catalogue.PHASES[phase]
    assert (whole.problem.Hq, whole.problem.D) == (shape.heads, shape.head_size)
    case = reduced(shape).case(8, phase=phase, batch=2)
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem))
    found = reference(q, k, v, call)
    tokens = 1 if phase == "decode" else 8
    assert found.output.shape == (2, case.problem.Hq, tokens, 4)
    assert np.isfinite(found.output).all()
    keys = shape.keys is not None
    last = found.allowed[0, 0, -1].sum()
    assert last == (3 if shape.window else 9 if keys else 8)
    first = found.allowed[0, 0, 0].sum()
    assert first == (last if phase == "decode" or not shape.causal else 1)
    assert np.allclose(found.weights.sum(-1), 1) == (not shape.sinks)


@pytest.mark.parametrize("shape", MODELS, ids=name_of)
def test_the_figures_of_a_model_fit_together(shape: Shape) -> None:
    assert shape.heads % shape.kv_heads == 0
    assert shape.hidden is not None
    assert (shape.heads * shape.head_size == shape.hidden) == shape.from_hidden
    assert shape.context is not None
    assert shape.source.startswith("https://")
    numbers = {int(found) for found in re.findall(r"(?<![\w.])\d+(?![\w.])", shape.fields)}
    stated = {shape.heads, shape.hidden} if shape.from_hidden else {shape.heads}
    assert stated <= numbers, "the fields that are quoted hold the figures"
    for figure in (shape.window, shape.keys):
        assert figure is None or figure in numbers


def test_what_was_read_is_what_stands_here() -> None:
    gemma = catalogue.shape("gemma-2-27b/local")
    assert gemma.scale == 144**-0.5
    assert gemma.spec.window == (4095, None)
    assert catalogue.shape("gemma-2-9b/local").spec.scale_factor(256) == 256**-0.5
    assert catalogue.shape("gemma-2-9b/global").spec.window is None
    deep = catalogue.shape("deepseek-v3")
    assert (deep.head_size, deep.value_size) == (192, 128)
    assert deep.scale == pytest.approx(192**-0.5 * (0.1 * math.log(40) + 1) ** 2, rel=1e-15)
    assert catalogue.shape("t5-base/encoder").spec.scale_factor(64) == 1.0
    assert catalogue.shape("gpt-oss-20b/local").case(16).problem.operands == ("sinks",)
    assert catalogue.shape("whisper-large/cross").case(448).problem.S == 1500


def test_a_phase_is_the_words_of_people_and_decoding_has_a_cache() -> None:
    case = catalogue.case("llama-3-8b", 4096, phase="decode", batch=2, dtype="bfloat16")
    p = case.problem
    assert (case.phase, p.B, p.Hq, p.Hkv, p.Tq, p.S, p.D, p.dtype) == ("decode", 2, 32, 8, 1, 4096, 128, "bfloat16")
    assert p.operands == ("past",)
    assert catalogue.case("llama-3-8b", 16, phase="train").gradients
    assert catalogue.case("whisper-large/cross", 7, phase="decode").problem.operands == ()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: catalogue.shape("lama-3-8b"), "did you mean 'llama-3-8b'?"),
        (lambda: catalogue.shape("nothing-like-it"), "attnbench list shapes"),
        (lambda: catalogue.shape("gemma-2-9b"), "gemma-2-9b/local, gemma-2-9b/global"),
        (lambda: catalogue.case("gpt2", 0), "1 or more"),
        (lambda: catalogue.case("gpt2", 8, batch=0), "1 or more"),
        (lambda: catalogue.case("gpt2", 8, phase="decod"), "did you mean 'decode'?"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(ask: object, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        ask()  # type: ignore[operator]
    assert said in str(raised.value)


def test_an_entry_that_is_none_is_an_error_that_names_it() -> None:
    from attnbench.attention.shapes import _shape

    with pytest.raises(UsageError, match=r"\[x\]: there is no field 'head'.*did you mean 'heads'"):
        _shape("x", {"head": 1})
    with pytest.raises(UsageError, match=r"\[x\]: head_size is missing"):
        _shape("x", {"title": "x", "heads": 1})


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == text.page(), "write it again: python -m tests.docs.write shapes"
