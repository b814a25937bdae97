"""For the test suite of your own kernel: it agrees with attention, or the test fails and says how.

``assert_agrees(fn)`` tries a function on the cases of ``attnbench check``, ``assert_close_attention(out, q, k, v)``
judges one output, ``strategies`` draws cases for Hypothesis, and the plugin of pytest has the marker and the fixtures.
Nothing here imports a framework, NumPy, pytest or Hypothesis before it is used.

In reading order: ``disagreement`` (what is raised), ``saying`` (what an author says of a function), ``kernel`` (that
function as an implementation), ``fixed`` (cases of a spec that is built in), ``message`` (what a failure says),
``asserting`` (``assert_agrees``), ``close`` (``assert_close_attention``), ``posed`` (one call with its operands:
``problem``), ``declared`` (which cases there are for some features), ``strategies``, ``summary`` (the smallest case of
a whole run), ``marked`` (what a marker says), ``plugin``.
"""

from __future__ import annotations

from attnbench.lazily import loader

_LAZY = {
    "DisagreementError": "attnbench.testing.disagreement",
    "assert_agrees": "attnbench.testing.asserting",
    "assert_close_attention": "attnbench.testing.close",
    "problem": "attnbench.testing.posed",
    "strategies": "attnbench.testing.strategies",
}

__all__ = [*_LAZY]  # noqa: PLE0604  (the lazy names are resolved by __getattr__)


__getattr__ = loader(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted(__all__)
