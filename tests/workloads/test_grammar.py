"""The grammar of mixes: what is read, what it is in words, and the one line for what is none."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from attnbench.errors import UsageError
from attnbench.workloads.asked_for import workload
from attnbench.workloads.binning import binned
from attnbench.workloads.grammar import Counted, Stretch, items
from attnbench.workloads.mixes import Workload, together
from attnbench.workloads.named import named

ISSUE = "8x 2q2k, 120x 1q4k, 4x 512q4k"


def test_a_mix_is_read_and_said_in_words() -> None:
    mix = workload(ISSUE)
    assert mix.words() == [
        "8 sequences: 2 queries over 2,048 keys, decode, 2 tokens at once",
        "120 sequences: 1 query over 4,096 keys, decode",
        "4 sequences: 512 queries over 4,096 keys, prefill behind 3,584 cached tokens",
    ]
    assert str(mix) == ISSUE
    assert (mix.total, mix.calls("decode"), mix.calls("prefill")) == (132, 128, 4)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2kq2k", Counted(1, Stretch(2048, 2048))),
        ("120 x 1q4k", Counted(120, Stretch(1, 4096))),
        ("3*1Q4K", Counted(3, Stretch(1, 4096))),
        ("1_000x 1q1", Counted(1000, Stretch(1, 1))),
        ("7× 16q17", Counted(7, Stretch(16, 17))),
    ],
)
def test_ways_of_writing_an_item(text: str, read: Counted) -> None:
    assert items(text) == (read,)


@pytest.mark.parametrize(
    ("size", "kind", "stage"),
    [
        ((1, 1), "decode", "decode"),
        ((1, 4096), "decode", "decode"),
        ((16, 4096), "verify", "decode"),
        ((17, 4096), "chunk", "prefill"),
        ((16, 16), "prompt", "prefill"),
        ((2048, 2048), "prompt", "prefill"),
    ],
)
def test_what_is_prefill_and_what_is_decode(size: tuple[int, int], kind: str, stage: str) -> None:
    assert (Stretch(*size).kind, Stretch(*size).stage) == (kind, stage)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty workload"),
        ("  ", "an empty workload"),
        ("8x 2q2k,", ">>><<<: nothing stands between two commas"),
        ("8x 2q2k, 12y 1q4k, 1q1", "workload 8x 2q2k, >>>12y 1q4k<<<, 1q1: an item is [COUNTx] QUERIESqKEYS"),
        ("q2k", "2kq2k is a prompt of 2,048 tokens"),
        ("8q1s1k", "what vLLM's benchmarks write 8q1s1k is 8x 1q1k"),
        ("2q1k_32q1s1k", "what vLLM's benchmarks write"),
        ("0x 1q4k", "a count of 0"),
        ("5x 0q4k", "no query asks nothing"),
        ("9q4", "9 queries over 4 keys: keys count the new tokens too"),
        ("1q4Ki", "the only suffix is k, for 1,024"),
        ("1q2M", "the only suffix is k, for 1,024"),
        ("1.5x 1q4k", "whole numbers only"),
        ("-3x 1q4k", "numbers are from 1 on"),
        ("1q2000000000", "at most 2**30"),
        ("9" * 14 + "x 1q1", "counts are whole numbers from 1 to 10**12"),
        ("chatt", "did you mean 'chat'?"),
        ("nothing.toml", "No such file"),
        ("trace.csv", "a file of a workload ends with .toml, .jsonl"),
        ("1q4k 3x 2q2k", ">>>1q4k 3x 2q2k<<<"),
        ("9" * 5000 + "q1", "too long a number"),
    ],
)
def test_what_is_none_is_one_line_with_the_place(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        workload(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sequences_that_ask_alike_are_one_item() -> None:
    assert str(workload("1q4k, 2x 1q4096")) == "3x 1q4k"


def test_named_workloads_say_whose_figures_they_are() -> None:
    assert {"chat", "retrieval", "short-prompts", "speculative"} <= set(named())
    for name, mix in named().items():
        assert re.match(r"https://arxiv\.org/abs/\d{4}\.\d{5}$", mix.source), name
        assert re.match(r".+ et al\. 20\d\d", mix.figures), name
        assert mix.ours, name
    queries = {item.stretch.queries for item in named()["speculative"].items}
    assert (min(queries), max(queries)) == (2, 16)


def test_a_request_reads_as_many_keys_as_its_steps() -> None:
    """Where a prompt of n tokens is answered by m: m - 1 steps over n + 1 to n + m - 1 keys."""
    for name, (n, m) in {"chat": (161, 338), "conversation": (1020, 129), "code": (1500, 13)}.items():
        steps = [item for item in named()[name].items if item.stretch.kind == "decode"]
        assert sum(item.count for item in steps) == m - 1
        read = sum(item.count * item.stretch.keys for item in steps)
        assert read == pytest.approx(sum(range(n + 1, n + m)), rel=2e-3)


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_files_are_read(tmp_path: Path) -> None:
    toml = 'title = "mine"\nsource = "us"\nmix = "2x 1q4k"\n[[sequences]]\nqueries = 512\ncache = 3584\ncount = 4\n'
    mine = workload(write(tmp_path, "workload.toml", toml))
    assert (mine.title, mine.source, str(mine)) == ("mine", "us", "2x 1q4k, 4x 512q4k")
    lines = ['{"query_length": 1, "cache_length": 4095, "count": 2}', "", '{"queries": 512, "keys": 4096}']
    assert str(workload(write(tmp_path, "trace.jsonl", "\n".join(lines)))) == "2x 1q4k, 1x 512q4k"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "title = ", "not TOML"),
        ("a.toml", "", "nothing is served"),
        ("a.toml", "mixx = '1q1'", "there is no 'mixx'"),
        ("a.toml", "mix = '1y1'", ">>>1y1<<<"),
        ("a.toml", "mix = 3", "mix is a text"),
        ("a.toml", "sequences = 3", "sequences are tables"),
        ("a.toml", "[[sequences]]\nqueries = 1", "sequence 1: a sequence has queries and either keys"),
        ("a.jsonl", "", "nothing is served"),
        ("a.jsonl", "\n{]", "line 2: not JSON"),
        ("a.jsonl", "[1]", "line 1: a line is an object"),
        ("a.jsonl", '{"queries": 1, "keys": 4, "cache": 3}', "either keys"),
        ("a.jsonl", '{"queries": true, "keys": 4}', "whole number; got True"),
        ("a.jsonl", '{"queries": 1.5, "keys": 4}', "whole number; got 1.5"),
        ("a.jsonl", '{"queries": -5, "cache": 20}', "no query asks nothing"),
        ("a.jsonl", '{"queries": 1, "cache": -1}', "a cache holds 0 keys or more"),
        ("a.jsonl", '{"queries": 1, "keys": 4, "count": 0}', "a count of 0"),
        ("a.jsonl", '{"query": 1, "keys": 4}', "did you mean"),
        ("a.jsonl", '{"queries": 1, "query_length": 1, "keys": 4}', "says again"),
    ],
)
def test_faults_of_a_file_have_their_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        workload(write(tmp_path, name, text))
    assert said in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_trace_becomes_a_few_dozen_cases_and_the_error_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    prompts = np.exp(rng.normal(6.5, 1.0, 2000)).astype(int) + 1
    caches = np.exp(rng.normal(7.0, 1.0, 8000)).astype(int) + 1
    lines = [{"query_length": int(n), "cache_length": 0} for n in prompts]
    lines += [{"query_length": 1, "cache_length": int(n)} for n in caches]
    trace = workload(write(tmp_path, "trace.jsonl", "\n".join(map(json.dumps, lines))))
    assert len(trace.items) <= 24
    assert trace.total == 10_000
    assert trace.calls("prefill") == int((prompts > 1).sum())
    assert re.search(r"different sizes stand in \d+ cases; that changes the pairs", trace.note)
    before = {Stretch(1, int(n) + 1): 0 for n in caches} | {Stretch(int(n), int(n)): 0 for n in prompts}
    for n in caches:
        before[Stretch(1, int(n) + 1)] += 1
    for n in prompts:
        before[Stretch(int(n), int(n))] += 1
    cases = binned(before)
    pairs = sum(s.pairs * n for s, n in cases.counts.items()) / sum(s.pairs * n for s, n in before.items()) - 1
    assert cases.pairs == pytest.approx(pairs)
    assert abs(cases.pairs) < 0.01
    assert abs(cases.keys) < 0.05


def test_a_batch_stands_for_all_of_its_kind() -> None:
    few = Workload.of("", items("3x 1q64, 2x 1q128"))
    assert [str(item) for item in together(few.items)] == ["3x 1q64", "2x 1q128"]
    many = Workload.of("", items("75x 1q64, 25x 1q128"))
    assert [str(item) for item in together(many.items)] == ["12x 1q64", "4x 1q128"]
