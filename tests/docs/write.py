"""Write generated pages of the documentation again.

    python -m tests.docs.write              # what takes seconds; then says what else there is
    python -m tests.docs.write semantics    # what is named, however long it takes
    python -m tests.docs.write --list       # what there is, and what each takes
    python -m tests.docs.write implementations --run FOLDER   # its second part too, from a saved run
    python -m tests.docs.write implementations --shapes FOLDER   # and its third, from a run of shapes of models

`tox -e docs` does the same; names stand after `--`. What takes seconds comes out the same on every machine, and tests
hold the pages to it. The list says what each of the others depends on: the versions that are installed, or the machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import AttnbenchError, check_known
from tests.packaging.assembled import assemble
from tests.repository import DOCS, REPOSITORY

NOISE = Path("results") / "noise" / "amd-epyc-2-cores"
SECONDS = "seconds"


@dataclass(frozen=True)
class Page:
    """A page, or a part of one: where it stands, what writing it takes, and what it depends on."""

    write: Callable[[], None]
    file: str
    takes: str
    depends: str


def architecture() -> None:
    """The figures of rooms."""
    from tests.packaging import rooms
    from tests.packaging.circles import imports

    with tempfile.TemporaryDirectory() as folder:
        text = rooms.PAGE.read_text("utf-8")
        for name, figure in rooms.figures(imports(assemble(Path(folder)))).items():
            text = rooms.fill(text, name, figure)
    rooms.PAGE.write_text(text, "utf-8")


def columns() -> None:
    """The tables of columns."""
    from attnbench.results.columns import columns_table
    from attnbench.results.schema import CellResult, Sample
    from tests.packaging.rooms import fill

    page = DOCS / "results.md"
    text = page.read_text("utf-8")
    for name, model in (("cells", CellResult), ("samples", Sample)):
        text = fill(text, name, columns_table(model))
    page.write_text(text, "utf-8")


def shapes() -> None:
    """The whole page."""
    from attnbench.commands.list_shapes import page

    (DOCS / "shapes.md").write_text(page(), "utf-8")


def commands() -> None:
    """The whole page."""
    from tests.docs import commands_page

    commands_page.PAGE.write_text(commands_page.page(), "utf-8")


def schema() -> None:
    """The whole page."""
    from tests.docs import schema_page

    schema_page.PAGE.write_text(schema_page.page(), "utf-8")


def agreement() -> None:
    """The two tables of observed ratios."""
    from tests.agree import observed

    observed.PAGE.write_text(observed.measured(observed.PAGE.read_text("utf-8")), "utf-8")


def mutants_list() -> None:
    """The list at the end of the page; what was measured stays as it is."""
    from tests.agree import killtable, mutants_page

    killtable.PAGE.write_text(mutants_page.listed(killtable.PAGE.read_text("utf-8")), "utf-8")


def mutants() -> None:
    """The whole page: every rule judges every mutant, in every dtype."""
    from tests.agree import killtable, mutants_page

    killtable.PAGE.write_text(mutants_page.page(), "utf-8")


def mutants_conditional() -> None:
    """The section about mutants behind conditions."""
    from tests.agree import conditional_page, killtable

    section = conditional_page.measured()
    text = killtable.PAGE.read_text("utf-8")
    killtable.PAGE.write_text(conditional_page.inserted(text, section), "utf-8")


def cheats() -> None:
    """The whole page: every cheat runs three times."""
    from tests.cheats import cheats_page

    cheats_page.PAGE.write_text(cheats_page.page(), "utf-8")


def attnbench(*words: str) -> str:
    """What a command of ours prints, in the repository; status 3 says that something is left to be measured."""
    command = [sys.executable, "-m", "attnbench", *words]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 3):
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def crossover() -> None:
    """The table of searches; what was measured live stays as it is."""
    from tests.crossover import searched

    searched.write()


def semantics() -> None:
    """The whole page, by the command that prints it."""
    (DOCS / "semantics.md").write_text(attnbench("semantics", "--markdown", "--quiet"), "utf-8")


def implementations() -> None:
    """What is declared; what was measured stays as it is."""
    from tests.docs import implementations_page as page

    page.PAGE.write_text(page.filled(page.PAGE.read_text("utf-8"), page.DECLARED, page.complete()), "utf-8")


def gpu() -> None:
    """What was seen of implementations that claim a GPU, in two pages."""
    from tests.docs import gpu_page

    gpu_page.write()


def implementations_measured(run: Path) -> None:
    """The second part, from a saved run."""
    from tests.docs import implementations_page as page

    body = page.measured(run)
    page.PAGE.write_text(page.filled(page.PAGE.read_text("utf-8"), page.MEASURED, body), "utf-8")


def implementations_slower(run: Path) -> None:
    """The third part, from a saved run."""
    from tests.docs import implementations_page as page
    from tests.docs import slower_page

    body = slower_page.behind(run)
    page.PAGE.write_text(page.filled(page.PAGE.read_text("utf-8"), slower_page.PART, body), "utf-8")


def scoreboard() -> None:
    """The tables of replay and of targets; the data goes to results/scoreboard/replay.csv."""
    attnbench("scoreboard", "replay", str(NOISE))


def scoreboard_live() -> None:
    """The table of live trials; goes on with those in results/scoreboard."""
    attnbench("scoreboard", "--trials", "5", "--seconds", "60", "--cells", "4", "--effects", "0,10")


def scoreboard_campaign() -> None:
    """The table of runs of `ab`; goes on with those in results/scoreboard."""
    attnbench("scoreboard", "campaign")


PAGES: Mapping[str, Page] = {
    "architecture": Page(architecture, "architecture.md, its figures", SECONDS, "the imports"),
    "shapes": Page(shapes, "shapes.md", SECONDS, "src/attnbench/attention/models.toml"),
    "columns": Page(columns, "results.md, its tables of columns", SECONDS, "attnbench.results"),
    "commands": Page(commands, "commands.md", SECONDS, "the program"),
    "schema": Page(schema, "schema.md", SECONDS, "attnbench.results"),
    "gpu": Page(gpu, "implementations.md, what is known on a GPU; gpu.md too", SECONDS, "the records beside the code"),
    "mutants-list": Page(mutants_list, "mutants.md, its list", SECONDS, "attnbench.agree.mutants"),
    "semantics": Page(semantics, "semantics.md", "a minute", "the installed frameworks, which it names"),
    "implementations": Page(
        implementations, "implementations.md, what is declared", "a minute", "all frameworks; with --run, a saved run"
    ),
    "crossover": Page(crossover, "crossover.md, its table of searches", "minutes", "recorded noise, and the rules"),
    "agreement": Page(agreement, "agreement.md, its tables", "minutes", "kernels and faults, in NumPy"),
    "mutants": Page(mutants, "mutants.md", "minutes", "all mutants, judged by the rules of other projects too"),
    "mutants-conditional": Page(
        mutants_conditional, "mutants.md, the section on conditions", "minutes", "2,000 mutants of one seed"
    ),
    "cheats": Page(cheats, "cheats.md", "10 minutes", "this machine: times are measured"),
    "scoreboard": Page(
        scoreboard,
        "scoreboard.md, replay and targets",
        "a minute",
        f"{NOISE}, the rules, and results of this machine",
    ),
    "scoreboard-live": Page(
        scoreboard_live, "scoreboard.md, live", "40 minutes", "this machine, and the extra `scoreboard`"
    ),
    "scoreboard-campaign": Page(scoreboard_campaign, "scoreboard.md, campaign", "140 minutes", "this machine"),
}
QUICK = [name for name, page in PAGES.items() if page.takes == SECONDS]


def listed(names: Sequence[str] = tuple(PAGES)) -> Iterator[str]:
    """A line for each page: its name, where it stands, what it takes, what it depends on."""
    for name in names:
        page = PAGES[name]
        yield f"{name:20} docs/{page.file}: {page.takes}; from {page.depends}"


def main(arguments: Sequence[str]) -> int:
    """Write what is named, or what takes seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.write", description="Write generated pages again.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="without a name: " + ", ".join(QUICK))
    parser.add_argument("--list", action="store_true", help="what there is, and what each takes")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="of implementations: what this saved run measured")
    parser.add_argument("--shapes", type=Path, metavar="FOLDER", help="of implementations: where ours are slower")
    given = parser.parse_args(arguments)
    if given.list:
        sys.stdout.write("\n".join(listed()) + "\n")
        return 0
    try:
        check_known("page", given.pages, list(PAGES))
        for option, folder, write in (
            ("--run", given.run, implementations_measured),
            ("--shapes", given.shapes, implementations_slower),
        ):
            if folder is not None and "implementations" not in given.pages:
                parser.error(
                    f"{option} FOLDER belongs to a page: python -m tests.docs.write implementations {option} FOLDER"
                )
            if folder is not None:
                write(folder)
    except AttnbenchError as error:
        parser.error(str(error))
    for name in given.pages or QUICK:
        PAGES[name].write()
        sys.stdout.write(f"written: docs/{PAGES[name].file}\n")
    if not given.pages:
        slow = [name for name in PAGES if name not in QUICK]
        sys.stdout.write("by name only:\n" + "".join(f"  {line}\n" for line in listed(slow)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
