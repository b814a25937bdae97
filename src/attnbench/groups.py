"""Groups of suites: one name for several suites, each at the levels that it has for the group's tier.

``ablations-smoke`` and its kin hold the suites that say so themselves (``Suite.tiers``); the tier ``standard`` is a
suite's own levels, for every suite that has any tier.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.suite import Suite

STANDARD = "standard"
# The ablations in the order of their questions; a third party's come behind them by name.
GROUPS = {"ablations-smoke": "smoke", "ablations-standard": STANDARD, "ablations-full": "full"}


def expanded(names: Sequence[str]) -> list[str | Suite]:
    """The suites that names stand for: a group's name stands for its suites, every other for itself."""
    suites: list[str | Suite] = []
    for name in names:
        suites += members(name) if name in GROUPS else [name]
    return suites


def suites_of(names: Sequence[str]) -> list[Suite]:
    """The same, every suite loaded. Raises ``UsageError`` for an unknown name."""
    return [discover.suite(suite) if isinstance(suite, str) else suite for suite in expanded(names)]


def members(group: str) -> list[Suite]:
    """The suites of a group at the group's levels; a suite without levels for the full tier stands at its own."""
    tier = GROUPS[group]
    return [suite.with_axes(suite.tiers.get(tier, {})) for suite in _tiered() if tier != "smoke" or tier in suite.tiers]


def _tiered() -> list[Suite]:
    suites = []
    for name in discover.suite_names():
        try:
            suite = discover.suite(name)
        except UsageError:
            continue  # a broken suite of somebody else's; `attnbench list suites` says what is wrong with it
        if suite.tiers:
            suites.append(suite)
    return suites
