"""What a mutant is: a planted fault, its kind, and the public report of a bug of that kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attnbench.agree.eager.attention import Eager
from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class BugReport:
    """A public report of a bug of this kind: a project's issue or pull request, and what it says."""

    project: str
    number: int
    says: str

    @property
    def url(self) -> str:
        """Where it can be read."""
        return f"https://github.com/{self.project}/issues/{self.number}"


@dataclass(frozen=True)
class Mutant:
    """One planted fault.

    ``kind`` is the kind of the fault; the same fault with another number is no other kind. ``report`` is ``None`` where
    no public report of this very fault was found. ``harmless`` names the dtypes in which it is no fault, with the
    reason. ``telling`` are the features that show it first.
    """

    name: str
    kind: str
    description: str
    breed: type[Eager]
    report: BugReport | None = None
    harmless: Mapping[str, str] = field(default_factory=dict)
    telling: tuple[str, ...] = ()

    def implementation(self) -> Implementation:
        """A fresh one as an implementation ``numpy/<name>``."""
        return self.breed().implementation(self.name)

    def applies(self, dtype: str) -> bool:
        """Whether the fault is one in this dtype."""
        return dtype not in self.harmless


MUTANTS: dict[str, Mutant] = {}


def planted(
    kind: str, *telling: str, report: BugReport | None = None, harmless: Mapping[str, str] | None = None
) -> Callable[[type[Eager]], type[Eager]]:
    """Enter a class into the catalogue; its docstring is the description of the fault."""

    def enter(breed: type[Eager]) -> type[Eager]:
        description = " ".join((breed.__doc__ or "").split())
        MUTANTS[breed.__name__] = Mutant(breed.__name__, kind, description, breed, report, harmless or {}, telling)
        return breed

    return enter
