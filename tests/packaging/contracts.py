"""The import-linter contract `only`: a row of the table "who may import whom", written as it is read.

A built-in *forbidden* contract names what is refused, so that a module added next month is allowed
until somebody remembers it. This one names what is allowed, and a new module is refused until
somebody decides.
"""

import sys
from collections.abc import Iterable
from typing import Any

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck

Breach = tuple[str, str, list[int]]


class OnlyContract(Contract):
    """Hold direct imports to an allowlist.

    Configuration options:

    - modules: whom the row is about, each with everything below it; wildcards as in import-linter.
    - except_modules: those below `modules` whom it is not about. (Optional.)
    - may_import: everything they may import, beside the standard library and what lies under the
      same entry of `modules`. Left out, they may import anything but `never_import`.
    - never_import: what they may not import in any case. (Optional.)

    Only direct imports count: `attnbench.api.suites` is allowed to suites just because it imports much
    that a suite may not. A name in `may_import` allows everything below it, too, but for what
    `never_import` names.
    """

    type_name = "only"

    modules = fields.SetField(subfield=fields.StringField())
    except_modules = fields.SetField(subfield=fields.StringField(), required=False)
    may_import = fields.SetField(subfield=fields.StringField(), required=False)
    never_import = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return the direct imports that the row does not allow."""
        roots = _matching(graph, self.modules)
        exempt = _with_descendants(graph, _matching(graph, self.except_modules))
        breaches = [breach for root in sorted(roots) for breach in self._breaches(graph, root, exempt)]
        unused = [] if roots else [f"no module matches {sorted(_listed(self.modules))}"]
        return ContractCheck(kept=not breaches, warnings=unused, metadata={"breaches": breaches})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that is not allowed."""
        for importer, imported, lines in check.metadata["breaches"]:
            where = ", ".join(f"l.{line}" for line in lines)
            output.print(f"{importer} is not allowed to import {imported} ({where})")
        output.new_line()

    def _breaches(self, graph: ImportGraph, root: str, exempt: set[str]) -> Iterable[Breach]:
        for importer in sorted(_with_descendants(graph, {root}) - exempt):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if not self._is_allowed(graph, root, imported):
                    details = graph.get_import_details(importer=importer, imported=imported)
                    yield importer, imported, sorted({detail["line_number"] for detail in details})

    def _is_allowed(self, graph: ImportGraph, root: str, imported: str) -> bool:
        if imported in _with_descendants(graph, _matching(graph, self.never_import)):
            return False
        return self.may_import is None or _is_under(imported, root) or self._is_listed(imported)

    def _is_listed(self, imported: str) -> bool:
        listed = any(_is_under(imported, name) for name in _listed(self.may_import))
        return listed or imported.partition(".")[0] in sys.stdlib_module_names


def _listed(option: Any) -> set[str]:
    """Return the values of an option, none if it was left out.

    import-linter puts the parsed value where the class has the field, so its type is no field's.
    """
    return set(option or ())


def _matching(graph: ImportGraph, option: Any) -> set[str]:
    """Return the modules of the graph which an option's expressions name."""
    return {module for expression in _listed(option) for module in graph.find_matching_modules(expression)}


def _with_descendants(graph: ImportGraph, modules: set[str]) -> set[str]:
    """Return the modules and everything below them; a third party's package has nothing below it here."""
    below = (graph.find_descendants(module) for module in modules if not graph.is_module_squashed(module))
    return modules.union(*below)


def _is_under(module: str, package: str) -> bool:
    """Say whether a module is the package or lies below it."""
    return module == package or module.startswith(f"{package}.")
