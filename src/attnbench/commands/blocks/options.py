"""The options of ``attnbench dispatch`` that no other command has; as in ``commands.options``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Texts = list[str] | None

# Blocks for many machines.
PlanOut = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder, which the plan fills.")]
NeededLabels = Annotated[
    Texts,
    typer.Option(
        "--label",
        metavar="NAME=VALUE",
        help="What a worker must say of itself, such as gpu=h100; of one device's blocks: cuda:gpu=h100. Repeatable.",
    ),
]
WorkerLabels = Annotated[
    Texts,
    typer.Option("--label", metavar="NAME=VALUE", help="What this worker is, such as gpu=h100; kept. Repeatable."),
]
Hold = Annotated[
    Texts,
    typer.Option(
        "--hold",
        metavar="NAME=VERSION",
        help="The version that workers are held to, where it is not the one here; none for none. Repeatable.",
    ),
]
SendFiles = Annotated[
    bool, typer.Option("--send-files", help="Files of your own go with the plan; workers run what stands in them.")
]
PlanSeed = Annotated[int | None, typer.Option("--seed", help="Of the random order; drawn and kept without.")]
Block = Annotated[str, typer.Option("--block", metavar="ID", help="The block, by number or id.")]
MeasureAgain = Annotated[bool, typer.Option("--again", help="Measure it though it has a result, which is replaced.")]
EachMachine = Annotated[
    bool, typer.Option("--each-machine", help="Measure it unless this machine has; other machines' results count not.")
]
Partial = Annotated[bool, typer.Option("--partial", help="Take what can be had; the rest of the cells are not-run.")]
Missing = Annotated[bool, typer.Option("--missing", help="Only the numbers without a result, such as 0-5,9.")]
PlanBudget = Annotated[
    str | None,
    typer.Option("--budget", metavar="TIME", help="Of all machines together, such as 8h; each cell has as much of it."),
]
BlockBudget = Annotated[
    str | None, typer.Option("--budget", metavar="TIME", help="The most that the block may take here, such as 10m.")
]
MissingEach = Annotated[bool, typer.Option("--each", help="With --missing: a line for each number, for loops.")]
ArraySize = Annotated[
    int | None,
    typer.Option(
        "--array-size",
        metavar="N",
        help="With --missing: a line for each N blocks, their first one and what is missing counted from it.",
    ),
]

# A cluster of Dask.
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="The scheduler of Dask, such as tcp://10.0.0.7:8786."),
]
LocalWorkers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Instead, so many workers on this machine.")
]
DispatchedPlan = Annotated[
    Path | None,
    typer.Option("--plan", metavar="DIR", help="A new folder for the plan; one in plans/ beside --out without."),
]
ResumePlan = Annotated[Path | None, typer.Option("--resume", metavar="DIR", help="Go on with the plan in this folder.")]
Token = Annotated[
    str,
    typer.Option("--resource", metavar="NAME", help="The resource of which a worker has 1, for one block at a time."),
]
Most = Annotated[int | None, typer.Option("--most", metavar="N", help="Blocks that are out at once; no limit without.")]
WorkersWait = Annotated[
    str | None, typer.Option("--wait", metavar="TIME", help="How long to wait for workers, such as 10m; 1m without.")
]
TlsCa = Annotated[
    Path | None, typer.Option("--tls-ca", metavar="FILE", help="TLS: the certificate of who signed the cluster's.")
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="TLS: the certificate of this side.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="TLS: its key.")]
