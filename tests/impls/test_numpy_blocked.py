"""``numpy/blocked``: the same bits on any number of threads, nothing left behind, memory of a block."""

import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.api.suites import AttentionSpec, Case, Problem, draw
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import bind_case, given_inputs
from attnbench.impls.numpy_backend.tiled import crew, forward, layout, products
from tests.impls.against_oracle import check

CAUSAL = AttentionSpec(causal=True, align="bottom_right")
LONG = Problem(B=2, Hq=4, Hkv=2, Tq=530, S=650, D=8, dtype="float32", seed=3)
SAME = {
    "causal": Case(CAUSAL, LONG, "backward"),
    "causal, a block of several long heads": Case(CAUSAL, replace(LONG, B=1, Hkv=4, Tq=1030, S=1040), "backward"),
    "full, a block of several heads": Case(AttentionSpec(), replace(LONG, Hkv=4), "backward"),
    "grouped, sinks and a bias for all": Case(CAUSAL, replace(LONG, operands=("sinks", "bias")), "backward"),
    "keys cut in pieces": Case(AttentionSpec(), replace(LONG, Tq=3, S=5000), "backward"),
    "learned": Case(AttentionSpec(score="additive"), replace(LONG, Tq=300, S=300, Da=4), "backward"),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before, threads = crew.NUMBER.get(), set(threading.enumerate())
    yield
    assert crew.NUMBER.get() == before
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def _always_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "WORTH_A_THREAD", 1)


def of_blas() -> int:
    return int(crew.pools()[0].num_threads)


@pytest.mark.usefixtures("_always_threads")
@pytest.mark.parametrize("case", SAME.values(), ids=SAME)
def test_the_bits_are_the_same_on_any_number_of_threads(case: Case) -> None:
    backend, kernel = resolve("numpy/blocked")
    results = []
    for threads in (1, 2, 5):
        with backend.limited(threads):
            output, grads = bind_case(backend, kernel, case).result()
        results.append({"output": output.output, **grads})
    for other in results[1:]:
        assert {name: bool(np.array_equal(array, other[name])) for name, array in results[0].items()} == dict.fromkeys(
            results[0], True
        )


@pytest.mark.usefixtures("_always_threads")
def test_as_many_threads_work_as_are_asked_for() -> None:
    backend = load_backend("numpy")
    meet = threading.Barrier(3, timeout=10)
    seen: set[int] = set()

    def work(piece: int, space: crew.Space) -> None:
        del piece, space
        meet.wait()
        seen.add(threading.get_ident())
        assert of_blas() == 1

    with backend.limited(3):
        assert set(backend.computing_threads().values()) == {3}
        crew.run([[0], [1], [2]], work, 10)
    assert len(seen) == 3


def test_a_small_call_stays_in_its_thread() -> None:
    seen: list[int] = []
    with load_backend("numpy").limited(3):
        crew.run([[0], [1], [2]], lambda *_: seen.append(threading.get_ident()), 10)
    assert set(seen) == {threading.get_ident()}


@pytest.mark.usefixtures("_always_threads")
@pytest.mark.parametrize("where", ["caller", "helper"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_goes_wrong_in_a_thread_reaches_the_caller(where: str, error: type[BaseException]) -> None:
    meet = threading.Barrier(2, timeout=10)
    caller = threading.get_ident()

    def work(piece: int, space: crew.Space) -> None:
        del piece, space
        meet.wait()
        if (threading.get_ident() == caller) == (where == "caller"):
            raise error

    with load_backend("numpy").limited(2):
        with pytest.raises(error):
            crew.run([[0], [1]], work, 10)
        assert of_blas() == 2


def test_two_calls_at_once_are_right_and_blas_gets_its_number_back() -> None:
    q = np.random.default_rng(0).standard_normal((1, 4, 600, 16)).astype(np.float32)
    expected, before = ab.attend(q, q, q, impl="numpy/blocked").output, of_blas()
    outputs: list[Any] = []

    def call() -> None:
        outputs.extend(ab.attend(q, q, q, impl="numpy/blocked").output for _ in range(8))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bool(np.array_equal(output, expected)) for output in outputs] == [True] * 24
    assert of_blas() == before


def test_a_number_set_while_a_crew_is_at_work_holds_when_it_is_done() -> None:
    with load_backend("numpy").limited(2), crew.NUMBER.taken() as threads:
        assert (threads, of_blas()) == (2, 1)
        with load_backend("numpy").limited(3):
            assert (crew.NUMBER.get(), of_blas()) == (3, 1)
        assert crew.NUMBER.get() == 2


def test_any_thread_can_set_the_number() -> None:
    backend = load_backend("numpy")
    seen = []

    def set_it(threads: int) -> None:
        with backend.limited(threads), crew.NUMBER.taken() as number:
            seen.append((number, of_blas()))
        with backend.limited(threads):
            seen.append((threads, of_blas()))

    set_it(2)
    other = threading.Thread(target=set_it, args=(3,))
    other.start()
    other.join()
    assert seen == [(2, 1), (2, 2), (3, 1), (3, 3)]


def test_a_new_process_finds_no_crew_at_work() -> None:
    number, before = crew.ThreadCount(), of_blas()
    at_work = number.taken()
    at_work.__enter__()
    assert of_blas() == 1
    number.after_fork()
    assert of_blas() == before


@pytest.mark.parametrize("spec", [AttentionSpec(), AttentionSpec(causal=True)], ids=["full", "causal"])
def test_logits_that_rise_beyond_what_was_peeked_are_done_again(spec: AttentionSpec, monkeypatch: Any) -> None:
    online, again = forward.online, []

    def counted(*args: Any, **how: Any) -> forward.Sums:
        again.append(1)
        return online(*args, **how)

    monkeypatch.setattr(forward, "online", counted)
    q = np.full((1, 1, 256, 4), 4, np.float32)
    k = np.linspace(0, 60, 256, dtype=np.float32)[None, None, :, None] * np.ones(4, np.float32)
    v = np.random.default_rng(0).standard_normal(k.shape).astype(np.float32)
    got, expected = (ab.attend(q, k, v, impl=f"numpy/{name}", spec=spec).output for name in ("blocked", "naive"))
    assert again
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    again.clear()
    ab.attend(q, k * np.float32(0.01), v, impl="numpy/blocked", spec=spec)
    assert not again


@pytest.mark.parametrize(
    "operands", [("segments",), ("mask",), ("bias",), ("slopes", "offset"), ("kv_lengths", "sinks")]
)
def test_tiles_agree_with_the_oracle(operands: tuple[str, ...]) -> None:
    spec = AttentionSpec(causal=True) if "offset" in operands else CAUSAL
    check("numpy/blocked", spec, replace(LONG, B=1, Tq=530, S=600, D=5, operands=operands), extra=False)


@pytest.mark.parametrize("unpacked", [True, False], ids=["small products", "large products"])
@pytest.mark.parametrize(
    "spec",
    [AttentionSpec(), CAUSAL, AttentionSpec(window=(150, 20), align="top_left")],
    ids=["full", "causal", "window"],
)
def test_tiles_of_either_kind_agree_with_the_oracle(
    spec: AttentionSpec, unpacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "has_unpacked", lambda: unpacked)
    check("numpy/blocked", spec, replace(LONG, B=1, Hkv=4, Tq=645, S=600 if spec.window else 701), extra=False)


def test_a_piece_all_of_whose_keys_every_row_sees_has_no_tile_on_the_diagonal() -> None:
    spec = AttentionSpec(causal=True)
    q, k, v = (np.ones((1, 1, length, 4), np.float32) for length in (130, 193, 193))
    got, expected = (ab.attend(q, k, v, impl=f"numpy/{n}", spec=spec, offset=300).output for n in ("blocked", "naive"))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_small_products_are_chosen_where_they_are_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def tile_of(D: int, dtype: str = "float32", spec: AttentionSpec = CAUSAL) -> layout.Tile:
        case = Case(spec, Problem(Hq=1, Tq=4, D=D, dtype=dtype), "forward")
        return layout.forward_tile(given_inputs(case.spec, draw(case.spec, case.problem), ()).call)

    monkeypatch.setattr(layout, "has_unpacked", lambda: True)
    assert tile_of(64) == layout.UNPACKED_CAUSAL
    assert tile_of(64, spec=AttentionSpec()) == layout.UNPACKED
    largest = products.MOST_UNPACKED // (layout.UNPACKED.lane * layout.UNPACKED.keys) - 1  # a column is put beside q
    assert [tile_of(D) == layout.UNPACKED_CAUSAL for D in (largest, largest + 1)] == [True, False]
    others = tile_of(64, "float64"), tile_of(64, spec=AttentionSpec(causal=True, align="top_left", softcap=2.0))
    assert others == (layout.CAUSAL, layout.CAUSAL)
    monkeypatch.setattr(layout, "has_unpacked", lambda: False)
    assert tile_of(64) == layout.CAUSAL


@pytest.mark.parametrize(
    ("low", "high", "tiles"),
    [(0, 8, [(0, 4), (4, 8)]), (3, 9, [(3, 4), (4, 8), (8, 9)]), (5, 6, [(5, 6)]), (5, 5, []), (6, 5, []), (4, 4, [])],
)
def test_tiles_on_a_grid_are_all_keys_once(low: int, high: int, tiles: list[tuple[int, int]]) -> None:
    assert layout.grid_tiles(low, high, 4) == [slice(*tile) for tile in tiles]


@pytest.mark.parametrize(("rows", "lane"), [(10, 0), (10, 4), (8, 4), (3, 4)])
def test_products_in_lanes_are_products(rows: int, lane: int) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, rows + 1, 6))[:, 1:, :5], rng.standard_normal((2, 5, 7))
    out = np.full((2, rows, 7), np.nan)
    products.multiply(products.in_lanes(left, lane), right, products.in_lanes(out, lane))
    np.testing.assert_allclose(out, left @ right)


def test_sums_of_more_tiles_than_are_kept_are_complete() -> None:
    q, total, output = np.ones((1, 3, 2)), np.zeros((1, 3, 1)), np.zeros((1, 3, 4))
    sums = products.Accumulator(q, output, total, 2, crew.Space())
    for _ in range(2 * products.SUMS + 1):
        sums.products(np.ones((1, 2, 5)))
        sums.add(np.ones((1, 5, 4)), first=False)
    sums.finish()
    each = 2 * 5 * (2 * products.SUMS + 1)
    assert set(total.flat) == set(output.flat) == {each}


def test_memory_is_that_of_blocks_and_is_given_back() -> None:
    backend, kernel = resolve("numpy/blocked")
    case = Case(AttentionSpec(), Problem(Hq=1, Tq=16384, D=16, dtype="float32"), "forward")
    run = bind_case(backend, kernel, case).run
    backend.trim()
    tracemalloc.start()
    try:
        output = run().output
        peak = tracemalloc.get_traced_memory()[1]
        kept = tracemalloc.get_traced_memory()[0] - output.nbytes
        backend.trim()
        left = tracemalloc.get_traced_memory()[0] - output.nbytes
    finally:
        tracemalloc.stop()
    assert peak - output.nbytes < 64 * 2**20
    assert left < 2**19 < kept < 32 * 2**20  # one thread's tiles


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e38), ("float64", 1e30)])
def test_a_weight_of_nothing_is_nothing_whatever_its_value(dtype: str, large: float) -> None:
    q, k, v = (np.zeros((1, 1, 256, 8), dtype) for _ in range(3))
    q[..., 0], k[0, 0, [0, 200], 0] = 1, -400 * np.sqrt(8)
    v[...] = 1
    v[0, 0, 200] = large
    np.testing.assert_allclose(ab.attend(q, k, v, impl="numpy/blocked").output, 1, rtol=1e-6)


def test_nothing_is_warned_of_what_is_undefined_in_the_operands() -> None:
    v = np.ones((1, 1, 256, 8), np.float32)
    v[0, 0, :2, 0] = np.inf, -np.inf
    with np.errstate(all="raise"):
        assert np.isnan(ab.attend(v, v, v, impl="numpy/blocked").output[..., 0]).all()


def test_rows_with_first_keys_of_their_own_are_not_peeked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "peeked", lambda *_: pytest.fail("peeked"))
    x = np.ones((1, 1, 512, 8), np.float32)
    np.testing.assert_allclose(
        ab.attend(x, x, x, impl="numpy/blocked", spec=AttentionSpec(causal=True, window=(64, 0))).output, x
    )


@pytest.mark.usefixtures("_always_threads")
def test_a_crew_of_another_thread_waits_for_a_call_that_has_blas_for_itself() -> None:
    x, backend = np.ones((1, 1, 512, 8), np.float32), load_backend("numpy")
    seen, begun = [], threading.Event()

    def other() -> None:
        begun.set()
        ab.attend(x, x, x, impl="numpy/blocked")
        seen.append("attended")

    thread = threading.Thread(target=other)
    with backend.limited(2):
        thread.start()
        begun.wait()
        thread.join(0.2)
        assert (seen, of_blas()) == ([], 2)
    thread.join()
    assert seen == ["attended"]


def test_the_number_that_was_set_holds_where_no_blas_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "pools", tuple)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    number = crew.ThreadCount()
    number.set(1)
    with number.taken() as threads:
        assert (threads, number.get()) == (1, 1)
