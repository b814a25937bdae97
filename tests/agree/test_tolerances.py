"""The rules of other projects in the kill table are theirs, and the page lists what the catalogue holds."""

from __future__ import annotations

import numpy as np
import pytest

from attnbench.agree.mutants import MUTANTS
from attnbench.attention.precision import DTYPES, numpy_dtype
from tests.agree.killtable import PAGE
from tests.agree.mutants_page import catalogue, listed
from tests.agree.tolerances import RULES, TORCH, Rule


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_torch_defaults_are_torchs(dtype: str) -> None:
    """As ``torch.testing.assert_close`` takes them when nothing is said."""
    torch = pytest.importorskip("torch")
    scalar = torch.zeros(1, dtype=getattr(torch, dtype))
    assert torch.testing._comparison.default_tolerances(scalar, scalar) == TORCH[dtype]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_accepts_the_rounded_truth_and_rejects_another_answer(rule: Rule, dtype: str) -> None:
    """Otherwise a rule in the table would be a straw man."""
    truth = np.random.default_rng(0).random((2, 3, 17, 8)) + 0.5
    rounded = truth.astype(numpy_dtype(dtype))
    assert rule.accepts(rounded, truth, rounded, dtype)
    assert not rule.accepts((truth + 0.1).astype(rounded.dtype), truth, rounded, dtype)
    assert not rule.accepts(rounded[:, :, :-1], truth, rounded, dtype)
    missing = truth.copy()
    missing[0, 0, 0, 0] = np.nan
    assert not rule.accepts(missing.astype(rounded.dtype), truth, rounded, dtype)


def test_the_page_lists_every_mutant_with_its_report() -> None:
    """``python -m tests.docs.write mutants-list`` writes it."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.endswith(catalogue())
    assert all(f"| {name} |" in page for name in MUTANTS)
    assert listed(page) == listed(f"{page}| one that is gone |\n") == page
