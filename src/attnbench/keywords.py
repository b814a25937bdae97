"""Keywords that are none: what was meant, be it a slip, a word in the wrong place or one of another library.

A call with such a word raises a ``KeywordError``, which is a ``TypeError`` as for any Python function, and an error
of ours with the exit status of wrong usage.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

from attnbench.errors import UsageError

SPEC = ("score", "scale", "softcap", "causal", "align", "window", "dropout")
OPERANDS = (
    *("mask", "bias", "q_lengths", "kv_lengths", "q_segments", "kv_segments", "offset", "sinks", "slopes", "keep"),
    *("past_k", "past_v", "params"),
)
SIZES = ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv", "Da", "seed", "distribution")
OPTIONS = ("impl", "spec", "outputs")
# The fields of Capabilities that are words of nothing else, and those that are.
DECLARED = (
    *("scores", "dtypes", "devices", "gqa", "lengths", "segments", "head_scale", "log_n", "batch_offset", "lse"),
    *("stages", "nan_isolation", "gradients", "precision", "limits", "lacks", "alignments", "only"),
)
CAPABILITIES = (*DECLARED, "causal", "mask", "bias", "window", "softcap", "sinks", "dropout", "slopes")
# Where a word of ours belongs that stands in another place.
PLACES = {
    **{word: f"that is part of the spec: spec=AttentionSpec({word}=...)" for word in SPEC},
    **{word: f"that is an operand of a call: attend(q, k, v, {word}=...)" for word in OPERANDS},
    **{word: f"that is a part of a problem: Problem({word}=...)" for word in SIZES},
    **{word: f"that is an option of a call: attend(q, k, v, {word}=...)" for word in OPTIONS},
    **{word: f"that is a capability: Capabilities({word}=...)" for word in DECLARED},
    "phase": "that is part of a case: Case(spec, problem, phase=...)",
    "dtype": "a problem has it, Problem(dtype=...), and a call has that of its arrays",
}
# Our words for those of other libraries, papers and habits; the first that the called function has is meant.
SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("is_causal", "use_causal_mask", "causal_mask", "autoregressive"), ("causal",)),
    **dict.fromkeys(("softmax_scale", "sm_scale", "qk_scale", "scaling", "attention_scale"), ("scale", "head_scale")),
    **dict.fromkeys(("dropout_p", "dropout_rate", "attention_dropout", "p_dropout"), ("dropout",)),
    **dict.fromkeys(("window_size", "sliding_window", "local_window_size", "window_left"), ("window",)),
    **dict.fromkeys(("soft_cap", "logits_soft_cap", "logit_cap", "attn_logits_soft_cap", "cap"), ("softcap",)),
    **dict.fromkeys(("attention_mask", "attn_mask_bool", "key_mask"), ("mask",)),
    **dict.fromkeys(("attn_bias", "attention_bias", "additive_mask", "position_bias"), ("bias",)),
    **dict.fromkeys(("alibi_slopes", "alibi", "alibi_slope"), ("slopes",)),
    **dict.fromkeys(("sink", "s_aux", "attention_sinks", "learnable_sink"), ("sinks",)),
    **dict.fromkeys(("seqused_k", "key_value_seq_lengths", "kv_seqlen", "seqlens_k", "cache_seqlens"), ("kv_lengths",)),
    **dict.fromkeys(("query_seq_lengths", "q_seqlen", "seqlens_q", "seqused_q"), ("q_lengths",)),
    **dict.fromkeys(("varlen", "padding", "seqlens"), ("lengths", "kv_lengths")),
    **dict.fromkeys(("segment_ids", "document_ids", "packed"), ("segments", "q_segments")),
    **dict.fromkeys(("k_cache", "past_key"), ("past_k",)),
    **dict.fromkeys(("v_cache", "past_value"), ("past_v",)),
    **dict.fromkeys(("enable_gqa", "mqa", "grouped", "grouped_query"), ("gqa",)),
    **dict.fromkeys(("query", "queries", "Q"), ("q",)),
    **dict.fromkeys(("key", "keys", "K"), ("k",)),
    **dict.fromkeys(("value", "values", "V"), ("v",)),
    **dict.fromkeys(("implementation", "backend", "kernel", "provider", "attn_implementation"), ("impl",)),
    **dict.fromkeys(("batch", "batch_size", "N"), ("B",)),
    **dict.fromkeys(("num_heads", "n_heads", "heads", "nheads", "H", "num_attention_heads"), ("Hq", "heads")),
    **dict.fromkeys(("num_kv_heads", "n_kv_heads", "kv_heads", "num_key_value_heads"), ("Hkv",)),
    **dict.fromkeys(("T", "seq_len", "seqlen", "length", "L", "tokens", "seqlen_q", "q_len"), ("Tq",)),
    **dict.fromkeys(("kv_len", "seqlen_k", "context", "Tk", "Skv"), ("S",)),
    **dict.fromkeys(("head_dim", "head_size", "d", "dim", "embed_dim", "d_head"), ("D", "d")),
    **dict.fromkeys(("backward", "autograd", "grad", "requires_grad", "differentiable"), ("gradients",)),
    **dict.fromkeys(("return_lse", "return_softmax_lse", "need_lse", "logsumexp"), ("lse",)),
    **dict.fromkeys(("device_type", "cuda", "gpu"), ("device", "devices")),
    **dict.fromkeys(("fp16", "bf16", "fp32", "half", "float16", "bfloat16", "float32", "float64"), ("dtypes", "dtype")),
    **dict.fromkeys(("max", "maximum", "most"), ("at_most",)),
    **dict.fromkeys(("min", "minimum", "least"), ("at_least",)),
    **dict.fromkeys(("multiple", "divisible_by"), ("multiple_of",)),
    **dict.fromkeys(("num_threads", "n_threads"), ("threads",)),
}
# What to write for words that have no word of ours where they stand.
INSTEAD = {
    "attn_mask": "write mask= for one of booleans (True: may attend), bias= for one of numbers, which are added",
    "enable_gqa": "nothing need be said: k and v may have fewer heads than q, a divisor of their number",
    "gqa": "nothing need be said: k and v may have fewer heads than q, a divisor of their number",
    "key_padding_mask": "write mask=attnbench.from_padding(...), whose True is padding, or kv_lengths=",
    "need_weights": 'write outputs=("weights",)',
    "return_attn_probs": 'write outputs=("weights",)',
    "output_attentions": 'write outputs=("weights",)',
    "lse": 'write outputs=("lse",)',
    "cu_seqlens_q": "several sequences in one row are told apart by q_segments= and kv_segments=",
    "cu_seqlens_k": "several sequences in one row are told apart by q_segments= and kv_segments=",
    "num_heads": "q has the heads: its shape is (B, Hq, Tq, D), and that of k and v (B, Hkv, S, D)",
    "head_dim": "the arrays have it: q is (B, Hq, Tq, D), k and v are (B, Hkv, S, D)",
    "layout": "arrays are (B, heads, tokens, head size); bring others into that order before the call",
    "training": "dropout is part of the spec, with the mask of what is kept as an operand: keep=",
}
CLOSE, VERY_CLOSE = 0.7, 0.85
# The shortest beginning of a word that stands for it.
BEGINNING = 4

Target = TypeVar("Target", bound=Callable[..., Any])


class KeywordError(UsageError, TypeError):
    """A call with a keyword that it does not take, or without an argument that it needs."""


def explained(target: Target) -> Target:
    """A function or dataclass whose ``TypeError`` for a wrong call says what was meant. Its signature stays."""
    if not isinstance(target, type):
        return cast("Target", _explaining(target, target.__name__, 0))
    type.__setattr__(target, "__init__", _explaining(vars(target)["__init__"], target.__name__, 1))
    return target


def _explaining(function: Any, name: str, bound: int) -> Any:
    """The function, which raises ``KeywordError`` where it is called wrongly; ``bound`` is 1 with a ``self``."""

    @functools.wraps(function)
    def call(*arguments: Any, **words: Any) -> Any:
        try:
            return function(*arguments, **words)
        except KeywordError:
            raise
        except TypeError:
            refuse_wrong_call(function, name, arguments, words, bound)
            raise

    return call


def refuse_wrong_call(function: Any, name: str, arguments: tuple[Any, ...], words: dict[str, Any], bound: int) -> None:
    """Raise ``KeywordError`` where a call does not fit the signature; ``bound`` arguments are not the caller's."""
    signature = inspect.signature(function)
    try:
        signature.bind(*arguments, **words)
    except TypeError as error:
        parameters = list(signature.parameters.values())[bound:]
        known = [parameter.name for parameter in parameters]
        check_keywords(name, words, known)
        msg = f"{name}: {error}; it takes {', '.join(known) or 'nothing'}"
        raise KeywordError(msg) from None


def check_keywords(name: str, words: Iterable[str], known: Collection[str]) -> None:
    """Raise ``KeywordError`` for the words that ``name`` does not take, and say of each what was meant."""
    wrong = [word for word in words if word not in known]
    if not wrong:
        return
    msg = f"{name} takes no " + ", and no ".join(f"{word!r}{meant(word, known)}" for word in wrong)
    if not all(meant(word, known) for word in wrong):
        msg += f"; it takes {', '.join(known) or 'nothing'}"
    raise KeywordError(msg)


def meant(word: str, known: Collection[str]) -> str:
    """What to write for a word, as the end of a sentence: one of ``known``, or where it belongs; else nothing."""
    folded = [name for name in known if name.casefold() == word.casefold()]
    longer = [name for name in known if name.startswith(word) and len(word) >= BEGINNING]
    close = difflib.get_close_matches(word, known, n=1, cutoff=VERY_CLOSE)
    synonyms = [name for name in SYNONYMS.get(word, ()) if name in known]
    if ours := [*folded, *synonyms, *longer, *close]:
        return f"; did you mean {ours[0]!r}?"
    every = [*known, *PLACES, *SYNONYMS, *INSTEAD]
    for near in (word, *difflib.get_close_matches(word, every, n=3, cutoff=CLOSE)):
        if sentence := _elsewhere(word, near, known):
            return sentence
    return ""


def _elsewhere(word: str, near: str, known: Collection[str]) -> str:
    """What to write where ``near`` was meant, which is a known word, or one that belongs to another place."""
    synonyms = SYNONYMS.get(near, ())
    if ours := [name for name in (near, *synonyms) if name in known]:
        return f"; did you mean {ours[0]!r}?"
    if near in INSTEAD and "bias" in known:
        return f"; {INSTEAD[near]}"
    name = next((name for name in (near, *synonyms) if name in PLACES or name in CAPABILITIES), None)
    if "capabilities" in known and (able := [name for name in (near, *synonyms) if name in CAPABILITIES]):
        return f"; {_unless(word, able[0])}that is a capability: Capabilities({able[0]}=...)"
    return f"; {_unless(word, name)}{PLACES[name]}" if name in PLACES else ""


def _unless(word: str, name: str) -> str:
    return "" if name == word else f"did you mean {name!r}? "


def check_takes(what: str, function: object, names: Collection[str]) -> None:
    """Raise ``UsageError`` for what is no function of these arguments, as far as it shows which it takes."""
    if not callable(function):
        msg = f"{what} is a function of ({', '.join(names)}); got {function!r}"
        raise UsageError(msg)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a compiled function may show none
    try:
        signature.bind(*names)
    except TypeError as error:
        msg = f"{what} is called with ({', '.join(names)}), and its signature is {signature}: {error}"
        raise UsageError(msg) from None
