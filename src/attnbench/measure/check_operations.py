"""The worker's side of ``attnbench check``: which rows there are for an implementation, and one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnbench import discover
from attnbench.measure.protocol import OK

if TYPE_CHECKING:
    from attnbench.backend import Backend

Done = tuple[str, str | None, dict[str, Any]]


def check_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations by their names in the protocol; ``backend`` is asked when one is called."""

    def check_plan(impl: str, files: list[str], dtypes: list[str], features: list[str], device: str) -> Done:
        """The (feature, dtype) pairs to check."""
        from attnbench.agree.check import plan_rows

        kernel = discover.load_implementation(impl, files)
        return OK, None, {"pairs": plan_rows(kernel, dtypes, features, device)}

    def check(impl: str, files: list[str], feature: str, dtype: str, device: str, deep: bool) -> Done:  # noqa: FBT001
        """One row of the table."""
        from attnbench.agree.check import check_feature

        kernel = discover.load_implementation(impl, files)
        row = check_feature(backend(), kernel, feature, dtype, device, deep=deep)
        return OK, None, row.to_dict()

    return {"check_plan": check_plan, "check": check}
