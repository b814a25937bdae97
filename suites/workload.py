"""Which implementation, or which pair for prefill and decode, is best for the mix of sequences that is served?

``attnbench run --workload "8x 2q2k, 120x 1q4k"`` puts the parts of that mix in the place of the small example here.
"""

from __future__ import annotations

from attnbench.api.suites import Case, Spelled, Story, catalogue, costs, workloads
from attnbench.suites import left_out as kinds

EXAMPLE = workloads.workload("2x 256q256, 1x 128q512, 24x 1q512, 24x 1q384, 4x 4q512")
MOST_SCORES = 2**30


def case(mix: str, part: str, way: str, shape: str, dtype: str) -> Case | None:
    """One call of a part, in a way of calling it; ``None`` where there is no such way. ``mix`` is its title alone."""
    del mix
    return workloads.case_of(workloads.part(part), way, catalogue.shape(shape), dtype)


STORY = Story(
    question="Which implementation, or which pair for prefill and decode, takes least time for the mix that is served?",
    method=(
        "Each sequence of the mix is a call by itself; several of a kind are besides one padded call (with lengths "
        "where they differ) and, where positions allow it, one packed call (with segments), at most 16 sequences "
        "together; all these ways stand in one block. In every process the time of a mix is the sum of calls times the "
        "median of a call, in the way of calling that takes least in all other processes; implementations are compared "
        "process by process (Student's interval of the mean of logarithms, Holm's procedure over everything that is "
        "claimed). Decode is 16 new "
        "tokens or fewer over a cache, prefill everything else. The winner flips where two totals cross as prefill's "
        "share of the calls grows, the calls of each stage in the same proportions."
    ),
    findings=workloads.findings,
    leads=True,
    figures=workloads.FIGURES,
    limits=(
        "The attention of one layer, its operands in memory already: no projections, no scheduling, no writing of the "
        "cache, no paging. The total is a sum of calls that were timed by themselves, with warm caches; batches are of "
        "like sequences, at most 16."
    ),
)

SUITE = workloads.ServedSuite(
    name="workload",
    story=STORY,
    axes={
        "mix": (EXAMPLE.level,),
        "part": tuple(map(str, workloads.parts(EXAMPLE))),
        "way": workloads.WAYS,
        "shape": ("h4-d64-causal",),
        "dtype": ("float32",),
    },
    levels={
        "mix": Spelled(workloads.check_level, "titles, such as workload chat"),
        "part": Spelled(workloads.part, "parts, such as 120x 1q4k or 7.5x (8x 1q1k + 8x 1q4k)"),
    },
    case=case,
    beside=("way",),
    refuse=costs.refuse_scores_above(MOST_SCORES, kinds.STORES_SCORES),
    leaves_out=kinds.left_out(kinds.FAR_BEHIND, *kinds.BY_NAME_ALONE, kinds.PYTHON_LOOPS, kinds.COMPILED_LONG),
    cell_s=0.4,
    weigh=False,
)
