"""The plugin of pytest: the marker ``attnbench``, the fixtures ``agrees`` and ``attention_case``, ``--attnbench``.

It is loaded by every pytest where attnbench is installed, and imports nothing else of it before a test asks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from attnbench.testing.marked import TestPart
    from attnbench.testing.posed import PosedProblem

MARKER = "attnbench"
FIXTURES = ("agrees", "attention_case")
# Of a test that uses one of the fixtures: whether it has called it, and whether a short set was tried.
ASKED = pytest.StashKey[dict[str, bool]]()
NEVER = "The test has the fixture agrees and never called it, so that nothing was compared. Call agrees(your_function)."
DEPTHS = ("quick", "usual", "deep")
HELP = "Try each feature in each dtype that a marked test names, instead of a short set."
HELP_DEPTH = "How many cases a marked test tries: quick (seconds), usual (minutes) or deep. Default: quick."
ABOUT = (
    f"{MARKER}(features='causal,gqa', dtypes='float32,bfloat16', backend='torch', ...): what the fixture agrees holds "
    "a function to, in the words of attnbench.testing.assert_agrees; --attnbench makes a test of each feature and dtype"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options."""
    group = parser.getgroup("attnbench", "agreement of attention kernels (attnbench)")
    group.addoption("--attnbench", action="store_true", help=HELP)
    group.addoption("--attnbench-depth", choices=DEPTHS, default="quick", help=HELP_DEPTH)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", ABOUT)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each part of the work, or each case."""
    marks = list(metafunc.definition.iter_markers(MARKER))
    used = [name for name in FIXTURES if _is_ours(metafunc, name)]
    if not marks and not used:
        return
    from attnbench.errors import AttnbenchError
    from attnbench.testing import marked

    every = metafunc.config.getoption("--attnbench")
    try:
        said = marked.said_by(marks)
        if not used:
            raise pytest.UsageError(_unread(metafunc.definition.nodeid))
        marked.check_said(said, of_cases="attention_case" in used)
        if "attention_case" in used:
            lines = marked.cases(said, every=every)
            metafunc.parametrize("attention_case", lines, ids=lines, indirect=True)
        elif every:
            parts = marked.parts(said, every=True)
            metafunc.parametrize("agrees", parts, ids=[part.name for part in parts], indirect=True)
    except AttnbenchError as error:
        msg = f"{metafunc.definition.nodeid}: {error}"
        raise pytest.UsageError(msg) from error


def _is_ours(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether a test uses the fixture of this plugin, and not one of its own by that name, or a parameter."""
    fixtures = metafunc._arg2fixturedefs.get(name)  # noqa: SLF001  (pytest has no other way to ask)
    if name not in metafunc.fixturenames or not fixtures or fixtures[-1].func.__module__ != __name__:
        return False
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize") if mark.args]
    words = [word.strip() for names in named for word in (names.split(",") if isinstance(names, str) else names)]
    return name not in words


def _unread(test: str) -> str:
    return f"{test}: the marker {MARKER} says nothing to a test without one of the fixtures {' and '.join(FIXTURES)}"


@pytest.fixture
def agrees(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``agrees(fn)`` is ``attnbench.testing.assert_agrees(fn)`` with the words of the marker of the test."""
    from attnbench.testing import marked
    from attnbench.testing.asserting import assert_agrees

    said = marked.said_by(request.node.iter_markers(MARKER))
    part: TestPart = getattr(request, "param", None) or marked.parts(said, every=False)[0]
    depth = request.config.getoption("--attnbench-depth")
    said = {name: value for name, value in said.items() if name != "dtypes"}
    given = {"dtype": part.dtypes, "rows": part.rows, "quick": depth == "quick", "deep": depth == "deep", **said}
    seen_here = request.node.stash.setdefault(ASKED, {"called": False, "short": False})
    every = request.config.getoption("--attnbench")

    def agree(fn: Callable[..., Any], **more: Any) -> Any:
        __tracebackhide__ = True
        words = {**given, **more, **marked.of_part(part, more)}
        seen_here["called"] = True
        seen_here["short"] |= not every and bool(words["quick"]) and not words["deep"] and not words.get("case")
        return assert_agrees(fn, **words)

    return agree


@pytest.fixture
def attention_case(request: pytest.FixtureRequest) -> PosedProblem:
    """One case with its operands: ``q``, ``k``, ``v``, ``words`` and ``assert_close(out)``."""
    from attnbench.testing import marked
    from attnbench.testing.posed import problem

    said = marked.said_by(request.node.iter_markers(MARKER))
    request.node.stash[ASKED] = {"called": True, "short": not request.config.getoption("--attnbench")}
    places = {name: said[name] for name in ("backend", "layout", "device") if name in said}
    return problem(request.param, **places)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put into the report what the end of the run says of a test."""
    report = yield
    seen_here = item.stash.get(ASKED, None)
    if call.when == "call" and seen_here is not None:
        if report.passed and not seen_here["called"]:
            report.outcome, report.longrepr = "failed", NEVER
        said: dict[str, Any] = {"short": seen_here["short"]}
        raised: Any = call.excinfo.value if call.excinfo is not None else None
        described = getattr(raised, "to_dict", None)
        if described is not None and isinstance(raised, AssertionError):
            said |= described()
        vars(report)["attnbench"] = said
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The smallest failing case of all tests; and that a short set was tried."""
    said = [
        (report.nodeid, report.attnbench)
        for outcome in ("failed", "passed")
        for report in terminalreporter.stats.get(outcome, ())
        if hasattr(report, "attnbench")
    ]
    if not said:
        return
    from attnbench.testing import summary

    lines = summary.smallest(said) + summary.short([test for test, words in said if words["short"]])
    if lines:
        terminalreporter.section(summary.TITLE)
        for line in lines:
            terminalreporter.line(line)
