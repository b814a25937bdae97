"""The command line as a person uses it.

The fixture ``cli`` gives a ``Cli``, which runs a command in a folder of its own and returns what it left.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


Cli = Callable[..., Done]
# One small case of the suite that `ab` compares by, and no line of progress.
SMALL = ("-a", "T=128", "-a", "setting=forward", "--quiet")
