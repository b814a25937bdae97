"""Whom ``attnbench check`` checks and where, whatever it checks: features, cases, random cases or ONNX nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.errors import NothingSelectedError

if TYPE_CHECKING:
    from attnbench.checking.features import CheckOptions


@dataclass(frozen=True)
class Where:
    """Whom to check and where, whatever is checked: names or patterns, drop-in files, device, seconds for one row.

    ``describing_s`` bounds the import of a file.
    """

    impls: list[str]
    files: list[Path]
    device: str
    timeout_s: float
    describing_s: float = 60.0

    def names(self) -> tuple[str, ...]:
        """The implementations to check: those named, else those of the files, else all that are announced."""
        from attnbench.backends import discover
        from attnbench.measure.run.plan import names_in

        dropped = names_in(self.paths(), self.describing_s) if self.files else ()
        known = tuple(dict.fromkeys((*discover.implementation_names(), *dropped)))
        names = self._selected(dropped, known)
        self._check_device(names)
        return names

    def _check_device(self, names: tuple[str, ...]) -> None:
        """Raise ``NothingSelectedError`` where the device is none of those that any of the frameworks has here."""
        from attnbench.workers.devices import ALWAYS, nowhere

        if self.device != ALWAYS and (why := nowhere(self.device, [name.partition("/")[0] for name in names])):
            raise NothingSelectedError(why)

    def _selected(self, dropped: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
        from attnbench.backends import discover

        if not self.impls:
            return dropped or known
        names = discover.select(self.impls, known)
        for name in names:
            if name in self.impls:
                discover.backend(name.partition("/")[0]).check_available()
        return names

    def paths(self) -> list[str]:
        """The drop-in files, absolute: workers run in other folders."""
        return [str(file.resolve()) for file in self.files]

    def options(self, **more: Any) -> CheckOptions:
        """What the checking of features and of cases is told."""
        from attnbench.checking.features import CheckOptions

        return CheckOptions(self.names(), self.paths(), device=self.device, timeout_s=self.timeout_s, **more)
