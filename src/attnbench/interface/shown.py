"""What every answer from Python has in common: it prints itself, a notebook shows it, and it is neither true nor false.

Its looks in a notebook may never break what a user has: where they cannot be made, the text stands for them.
"""

from __future__ import annotations

from typing import NoReturn


class ShownAnswer:
    """The base of what ``ab.run``, ``ab.check`` and ``ab.compare`` return."""

    def html(self) -> str:
        """What a notebook shows, as HTML with its own styles."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str | None:
        """Jupyter's question; ``None`` where a notebook is to show the text."""
        from attnbench.errors import AttnbenchError

        try:
            return self.html()
        except (AttnbenchError, OSError, ImportError):  # such as a run folder that has gone
            return None

    def __bool__(self) -> NoReturn:
        msg = (
            f"this answer ({type(self).__name__}) is neither true nor false, so that nobody takes one that fails for "
            f"one that is there; ask {self._asked_instead()}"
        )
        raise TypeError(msg)

    def _asked_instead(self) -> str:
        return ".exit_code == 0, or for what it says"
