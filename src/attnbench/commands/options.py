"""Every option of the command line, declared once: its name, its type and its help.

A command's signature names them and adds the default alone. Where two commands say something else by the same name,
both stand here, one below the other; where only the type differs they share one declaration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnbench import __version__


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer calls it with the flag)
    if wanted:
        typer.echo(f"attnbench {__version__}")
        raise typer.Exit


Texts = list[str] | None
Numbers = list[int] | None

# Of the program, and of nearly every command.
Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.")]

# What is computed, and by whom.
ListedSuites = Annotated[Texts, typer.Option("--suite", help="The suites whose cells are listed.")]
TimedSuites = Annotated[Texts, typer.Option("--suite", help="Timed suites; smoke without one. Repeatable.")]
OnlySuites = Annotated[Texts, typer.Option("--suite", help="Only these suites. Repeatable.")]
Impls = Annotated[Texts, typer.Option("--impl", help="Implementations, by name or shell pattern.")]
ImplsOfRevisions = Annotated[Texts, typer.Option("--impl", help="Between revisions: implementations, or patterns.")]
ImplsOrNaive = Annotated[Texts, typer.Option("--impl", help="Implementations; numpy/naive without one.")]
OnlyImpls = Annotated[Texts, typer.Option("--impl", help="Only these implementations, by name or pattern.")]
Files = Annotated[
    list[Path] | None, typer.Option("--impls", metavar="FILE", help="Drop-in implementations: a file or a folder.")
]
ListedFiles = Annotated[
    list[Path] | None, typer.Option("--impls", metavar="FILE", help="Instead, what is in these files or folders.")
]
SuiteFiles = Annotated[
    list[Path] | None, typer.Option("--suites", metavar="FILE", help="Suites of your own: a file or a folder.")
]
Axes = Annotated[
    Texts,
    typer.Option(
        "-a",
        metavar="AXIS=V1,V2",
        help="Other levels of an axis; repeatable. 128k is 128,000, 4Ki is 4096. With a comma in it: 'arm=\"a, b\",c'.",
    ),
]
Shapes = Annotated[
    Texts, typer.Option("--shape", help="Shapes of real models; see: attnbench list shapes. Repeatable.")
]
Tokens = Annotated[
    Texts, typer.Option("--tokens", metavar="N", help="Tokens of a sequence, such as 512, 4Ki or 128k; repeatable.")
]
Batch = Annotated[Texts, typer.Option("--batch", metavar="N", help="Sequences at once; repeatable.")]
Phases = Annotated[
    Texts,
    typer.Option("--phase", help="prefill (forward), train (forward and backward) or decode (one token over a cache)."),
]
Dtypes = Annotated[Texts, typer.Option("--dtype", help="float64, float32, bfloat16 or float16; repeatable.")]
CrossoverAxis = Annotated[
    str, typer.Option("--axis", help="What varies: tokens, keys, heads, head_size, batch or threads.")
]
Range = Annotated[
    str | None, typer.Option("--range", metavar="LOW:HIGH", help="Its ends, such as 64:8192; its own without.")
]
OneShape = Annotated[str, typer.Option("--shape", help="The shape; see: attnbench list shapes.")]
FixedTokens = Annotated[
    str | None, typer.Option("--tokens", metavar="N", help="Tokens, where they are not the axis; 512 without.")
]
FixedBatch = Annotated[str | None, typer.Option("--batch", metavar="N", help="Sequences at once; 1 without.")]
OnePhase = Annotated[
    str | None,
    typer.Option(
        "--phase", help="prefill (or forward), train (or backward), or decode; prefill without, decode for --axis keys."
    ),
]
OneDtype = Annotated[str, typer.Option("--dtype", help="float64, float32, bfloat16 or float16.")]
Require = Annotated[
    Texts, typer.Option("--require", help="deterministic or batch-invariant: a no is a failure (1); repeatable.")
]
Features = Annotated[Texts, typer.Option("--features", help="Only these features; repeatable.")]

Workload = Annotated[
    str | None,
    typer.Option(
        "--workload",
        metavar="MIX",
        help="What is served: '8x 2q2k, 120x 1q4k' (queries, keys; k is 1,024), a name (attnbench list workloads) or a "
        "file (.toml, .jsonl).",
    ),
]

# Where it runs.
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
DeviceOfBoth = Annotated[
    str | None, typer.Option("--device", help="cpu or cuda, the same for both sides; that of the suite without.")
]
Devices = Annotated[Texts, typer.Option("--device", help="cpu or cuda; repeatable.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads.")]
ThreadsOfBoth = Annotated[int | None, typer.Option("--threads", help="Threads, the same for both sides.")]
ThreadsOfAll = Annotated[Numbers, typer.Option("--threads", help="Threads, the same for all frameworks.")]
PythonA = Annotated[str | None, typer.Option("--python-a", metavar="PYTHON", help="The interpreter of A.")]
PythonB = Annotated[str | None, typer.Option("--python-b", metavar="PYTHON", help="The interpreter of B.")]
Machine = Annotated[
    str | None, typer.Option("--machine", metavar="ID", help="Another machine than this, or the newest.")
]

Architectures = Annotated[
    Texts, typer.Option("--arch", metavar="SM,SM", help="sm_80, sm_90, sm_100; all without. Repeatable.")
]

# How long.
_BUDGET = typer.Option("--budget", help="Wall time, such as 10m.")
Budget = Annotated[str, _BUDGET]
BudgetIfAny = Annotated[str | None, _BUDGET]
CheckBudget = Annotated[
    str | None, typer.Option("--budget", metavar="TIME", help="End within it; what is left is not tried.")
]
RecordBudget = Annotated[str, typer.Option("--budget", help="Wall time, such as 15m.")]
TrialBudget = Annotated[
    str | None, typer.Option("--budget", metavar="TIME", help="Start no trial that would end later.")
]
Limit = Annotated[str | None, typer.Option("--limit", metavar="TIME", help="Start no run that would end later.")]
Wait = Annotated[str | None, typer.Option("--wait", metavar="TIME", help="How long to wait for another run here.")]
WaitOnMachine = Annotated[
    str | None,
    typer.Option("--wait", metavar="TIME", help="How long to wait for another run on this machine, such as 10m."),
]
CellTimeout = Annotated[float, typer.Option("--timeout", help="Seconds for one step of a cell, such as checking it.")]
RowTimeout = Annotated[float, typer.Option("--timeout", help="Seconds for one row.")]
KernelTimeout = Annotated[float, typer.Option("--timeout", help="Seconds for one answer about a kernel.")]
ProbeTimeout = Annotated[float, typer.Option("--timeout", help="Seconds for one probe.")]
TrialSeconds = Annotated[float, typer.Option("--seconds", help="Wall seconds of one trial, both sides together.")]
Times = Annotated[
    Texts, typer.Option("--time", metavar="TIME", help="Wall time of a run; repeatable. 2m and 10m without.")
]


# What `explain` is given: arrays from files, as FILE or FILE:NAME, and the words of the spec.
def _place(*names: str, says: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, metavar="FILE", help=says)
    return option


ArrayOfQ = Annotated[str, _place("--q", says="Queries: .npy, .npz, .safetensors or .pt; FILE:NAME for one of several.")]
ArrayOfK = Annotated[str, _place("--k", says="Keys.")]
ArrayOfV = Annotated[str, _place("--v", says="Values.")]
ArrayOfOut = Annotated[str, _place("--out", says="What the kernel returned.")]
ArrayOfLse = Annotated[str | None, _place("--lse", says="The log-sum-exp that it returned, in float32 or wider.")]
ArrayOfOther = Annotated[str | None, _place("--other", says="Another output of the same call: which is nearer?")]
Grads = Annotated[Texts, typer.Option("--grad", metavar="NAME=FILE", help="A gradient, such as dq=FILE; repeatable.")]
ArrayOfDOut = Annotated[str | None, _place("--d-out", says="The cotangent of the output, of which gradients are.")]
ArrayOfDLse = Annotated[str | None, _place("--d-lse", says="The cotangent of lse, where there was one.")]
Causal = Annotated[bool, typer.Option("--causal", help="A query sees no key behind its own position.")]
Align = Annotated[str | None, typer.Option("--align", help="top_left or bottom_right, where Tq is not S.")]
Scale = Annotated[
    str | None,
    typer.Option("--scale", metavar="X", help="A number, none, 1/d, log_n, or a FILE of Hq; 1/√D without (dot)."),
]
Window = Annotated[str | None, typer.Option("--window", metavar="L,R", help="Keys to the left and right; none: all.")]
Softcap = Annotated[float | None, typer.Option("--softcap", metavar="C", help="Scores become c·tanh(s/c).")]
Score = Annotated[str, typer.Option("--score", help="dot, general, additive, concat or cosine.")]
Dropout = Annotated[float, typer.Option("--dropout", metavar="P", help="The rate, with --keep.")]
ArrayOfMask = Annotated[str | None, _place("--mask", says="bool, True attends; broadcast to (B, Hq, Tq, S).")]
ArrayOfBias = Annotated[str | None, _place("--bias", says="What is added to scores; broadcast likewise.")]
ArrayOfQLengths = Annotated[str | None, _place("--q-lengths", says="Integers (B,): queries of each batch entry.")]
ArrayOfKvLengths = Annotated[str | None, _place("--kv-lengths", says="Integers (B,): keys of each batch entry.")]
ArrayOfQSegments = Annotated[str | None, _place("--q-segments", says="Integers (B, Tq).")]
ArrayOfKvSegments = Annotated[str | None, _place("--kv-segments", says="Integers (B, S); a query sees equal ones.")]
Offset = Annotated[
    str | None,
    typer.Option("--offset", metavar="N", help="Position of the first query among the keys, or a FILE (B,)."),
]
ArrayOfSinks = Annotated[str | None, _place("--sinks", says="A logit for each query head, in the normaliser only.")]
ArrayOfSlopes = Annotated[str | None, _place("--slopes", says="ALiBi's slopes, one for each query head.")]
ArrayOfKeep = Annotated[str | None, _place("--keep", says="bool (B, Hq, Tq, S): what dropout keeps.")]
ArrayOfPastK = Annotated[str | None, _place("--past-k", says="Cached keys, in front of --k.")]
ArrayOfPastV = Annotated[str | None, _place("--past-v", says="Cached values.")]
Params = Annotated[
    Texts, typer.Option("--param", metavar="NAME=FILE", help="A parameter of a learned score, such as W=FILE.")
]
Layout = Annotated[str, typer.Option("--layout", help="bhsd, bshd, packed (with --heads) or varlen (--cu-seqlens).")]
Heads = Annotated[int | None, typer.Option("--heads", metavar="N", help="Query heads of --layout packed.")]
KvHeads = Annotated[int | None, typer.Option("--kv-heads", metavar="N", help="Key heads of packed, where others.")]
CuSeqlens = Annotated[str | None, _place("--cu-seqlens", says="Cumulative lengths of varlen, from 0.")]
CuSeqlensK = Annotated[str | None, _place("--cu-seqlens-k", says="Those of keys and values, where others.")]
ComputedIn = Annotated[
    str | None, typer.Option("--dtype", help="What was computed in, where the files hold it in a wider dtype.")
]

# What is judged, and how.
Margin = Annotated[str, typer.Option("--margin", help="The smallest change that matters.")]
MarginIfAny = Annotated[
    str | None, typer.Option("--margin", help="The smallest change that matters; half of --detect.")
]
Detect = Annotated[str, typer.Option("--detect", help="The slowdown that is to be found, such as 3%.")]
Inconclusive = Annotated[str, typer.Option("--inconclusive", help="fail or pass: what an open question is.")]
Quick = Annotated[bool, typer.Option("--quick", help="A few seconds, while editing: no proof.")]
Deep = Annotated[bool, typer.Option("--deep", help="Every case in every dtype.")]
Random = Annotated[int, typer.Option("--random", metavar="N", help="Instead, N random combinations of all features.")]
Draws = Annotated[int, typer.Option("--draws", help="With --random: draws of the values for each combination.")]
Onnx = Annotated[
    bool, typer.Option("--onnx", help="Instead, ONNX's own cases of Attention, or with --random nodes of it.")
]
Cases = Annotated[Texts, typer.Option("--case", metavar="CASE", help="Instead, exactly this case; repeatable.")]
RandomSeed = Annotated[int, typer.Option("--seed", help="The seed of --random.")]
OrderSeed = Annotated[
    int | None, typer.Option("--seed", help="The seed of the random order; drawn and recorded if not given.")
]
DrawsSeed = Annotated[int, typer.Option("--seed", help="The seed of the draws.")]

# The scoreboard's trials.
Rounds = Annotated[int, typer.Option("--trials", help="Rounds: trials of every tool at every slowdown.")]
RunsDrawn = Annotated[int, typer.Option("--trials", help="Runs to draw for every rule.")]
Effects = Annotated[str, typer.Option("--effects", metavar="E1,E2", help="Slowdowns in per cent; 0 is A against A.")]
TrialCells = Annotated[int, typer.Option("--cells", help="Cells of a trial.")]
RunCells = Annotated[int, typer.Option("--cells", help="Cells of a run.")]
Tools = Annotated[str | None, typer.Option("--tools", metavar="T1,T2", help="Some of the tools; all without.")]
Arms = Annotated[
    Texts,
    typer.Option(
        "--arm",
        metavar="EXTRA:TIME:RUNS",
        help="Runs to make; repeatable. 0:2m:20, 10:2m:10 and 5:10m:8 without.",
    ),
]

# What there is already, by name.
Resume = Annotated[str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was broken off.")]
NewBaseline = Annotated[str | None, typer.Option("--name", help="Its name; suites and machine without one.")]
ChosenBaseline = Annotated[
    str | None, typer.Option("--name", help="The baseline; that of its suites and machine without one.")
]
Baselines = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where baselines are.")]

# Where it goes, and as what.
RunsOut = Annotated[Path, typer.Option("--out", help="Where run folders go.")]
ImportOut = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run folders go.")]
ComparisonOut = Annotated[Path, typer.Option("--out", help="Where the folder of the comparison goes.")]
PairsOut = Annotated[Path, typer.Option("--out", help="Where the folder of the pairs goes.")]
DataOut = Annotated[Path, typer.Option("--out", help="Where the data goes.")]
HistoryOut = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where figure and table go.")]
ReportOut = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="The report's folder.")]
ExportOut = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FILE", help="The file (for asv and figures a folder); else a text is printed."
    ),
]
ExportFigure = Annotated[
    str | None, typer.Option("--figure", metavar="NAME", help="For svg, png and pdf: this figure alone.")
]
ExportSamples = Annotated[bool, typer.Option("--samples", help="For excel: a sheet with every sample besides.")]
Reports = Annotated[Path | None, typer.Option("--report", help="Where reports go; reports beside --out.")]
Page = Annotated[Path, typer.Option("--page", help="The page whose tables are filled in, if it is there.")]
Format = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help="markdown, csv, latex, excel; svg, png, pdf (figures); pytest-benchmark, asv, hyperfine, github, "
        "github-action-benchmark or junit.",
    ),
]
Commit = Annotated[
    str | None,
    typer.Option("--commit", help="For asv and github-action-benchmark: the commit that was measured."),
]
ImportCommit = Annotated[
    str | None,
    typer.Option("--commit", help="For a data.js: which of its commits; the newest without it."),
]
ImportMachine = Annotated[
    str | None,
    typer.Option("--machine", metavar="NAME", help="The machine that measured, where the file does not say it."),
]
RowsJunit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="The rows as JUnit XML besides.")]
VerdictsJunit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="The verdicts as JUnit XML.")]
VerdictsMarkdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="The verdicts as Markdown.")]
Roofline = Annotated[
    str | None,
    typer.Option("--roofline", metavar="GPU", help="Times that A100, H100, H200 or B200 leaves suite gpu."),
]
LaunchesAlone = Annotated[
    bool, typer.Option("--launches", help="With --roofline: what suite gpu launches there, and nothing else.")
]
RecordPassed = Annotated[bool, typer.Option("--record", help="Keep beside the code which implementations passed.")]
RecordRan = Annotated[
    bool, typer.Option("--record", help="Keep beside the code which implementations ran on a GPU in these runs.")
]
PrecheckPage = Annotated[Path | None, typer.Option("-o", "--out", metavar="PAGE", help="The same as a page of HTML.")]
SemanticsPage = Annotated[bool, typer.Option("--markdown", help="A page such as docs/semantics.md.")]
Github = Annotated[bool, typer.Option("--github", help="GitHub's step summary and annotations.")]

# What `best` is asked: one case, and what an answer must fit.
CaseShape = Annotated[
    str | None,
    typer.Option("--shape", metavar="NAME", help="A shape (attnbench list shapes), or such as h8-2-d128-causal."),
]
CaseTokens = Annotated[
    str | None, typer.Option("--tokens", metavar="N", help="Tokens of a sequence, such as 512, 4Ki or 128k.")
]
CaseBatch = Annotated[str, typer.Option("--batch", metavar="N", help="Sequences at once.")]
CasePhase = Annotated[str, typer.Option("--phase", help="prefill (or forward), train (or backward), or decode.")]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="BYTES", help="What a call may need at its peak, such as 2GiB.")
]
NeededFeatures = Annotated[
    Texts, typer.Option("--needs", metavar="F1,F2", help="What it must be able to do, such as gradients,window.")
]
Measure = Annotated[
    str | None,
    typer.Option("--measure", metavar="TIME", help="Measure it now, such as 5m; kept as a run."),
]
TableFile = Annotated[
    Path | None,
    typer.Option("--table", metavar="FILE", help="Instead, every measured case with its answer, as JSON."),
]

# What `init-ci` writes.
CiImpls = Annotated[Texts, typer.Option("--impl", help="Of the implementations in these files; all without.")]
CiBase = Annotated[
    str | None, typer.Option("--base", metavar="BRANCH", help="Pushed to, it is checked; tox compares with it.")
]
CiPython = Annotated[str, typer.Option("--python", metavar="VERSION", help="The Python of the runner.")]
CiBudget = Annotated[str, typer.Option("--budget", help="Time of a comparison, such as 10m.")]
CiSource = Annotated[
    str | None,
    typer.Option(
        "--attnbench",
        metavar="SOURCE",
        help="Where pip gets attnbench: git+https://… or ==VERSION; where this one came from without.",
    ),
]
CiInstalls = Annotated[
    Texts, typer.Option("--install", metavar="WORDS", help="What pip takes besides: '-r requirements.txt'. Repeatable.")
]
CiOut = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="DIR", help="The top of the repository; without it, that of this folder."),
]
CiOnly = Annotated[str | None, typer.Option("--only", metavar="PART", help="workflow or tox; both without.")]
CiForce = Annotated[bool, typer.Option("--force", help="Replace a workflow, or environments of ours, that is there.")]
CiPrint = Annotated[bool, typer.Option("--print", "--dry-run", help="Show what would be written, and write nothing.")]
