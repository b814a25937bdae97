"""What a failing assertion raises: an ``AssertionError`` that also knows its smallest case."""

from __future__ import annotations


class DisagreementError(AssertionError):
    """A function or an output is not the attention that was asked for. The message says all of it.

    ``case`` is the smallest case that fails, as ``case=`` takes it; ``what`` is the fault in a sentence; ``again`` is
    the line of Python that shows it again; ``size`` orders failures, the smallest first. Where nothing is known of one,
    it is empty.
    """

    def __init__(self, message: str, case: str = "", what: str = "", again: str = "", size: int = 0) -> None:
        super().__init__(message)
        self.case, self.what, self.again, self.size = case, what, again, size

    def to_dict(self) -> dict[str, str | int]:
        """JSON-ready, as a worker of pytest-xdist sends it."""
        return {"case": self.case, "what": self.what, "again": self.again, "size": self.size}
