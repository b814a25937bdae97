"""The site of the documentation builds without a warning, its links hold, and a browser shows it without a network."""

from __future__ import annotations

import importlib
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("sphinx", reason="the docs extra is not installed")
pytest.importorskip("playwright", reason="the test extra is not installed")

from playwright.sync_api import Browser

from tests.browser import opening
from tests.browser.opening import opened
from tests.repository import DOCS

# Pages of each kind: prose with a picture, Python's names, figures and tables, a file of the repository.
SHOWN = ("index", "python-testing", "architecture", "files/suites/saturation.py")
HELD = ("index", "python-testing", "architecture")  # by axe, too: between them they have all that there is
SEARCHED = "bottom_right"


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `tox -e site` does."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "-c", str(DOCS)]
    command += ["-d", str(target / "doctrees"), str(source), str(target / "site")]
    return subprocess.run(command, cwd=source.parent, capture_output=True, text=True, check=False)


@dataclass
class Parsed(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif "src" in given or (tag == "link" and "href" in given):
            self.loaded.append(given.get("src", given.get("href", "")))


def parsed(folder: Path) -> dict[str, Parsed]:
    """Every page of a site by its path."""
    pages = {}
    for file in sorted(folder.rglob("*.html")):
        page = Parsed()
        page.feed(file.read_text("utf-8"))
        pages[file.relative_to(folder).as_posix()] = page
    return pages


def leads(page: str, link: str) -> tuple[str, str] | None:
    """The file of the site and the place in it that a link leads to; ``None`` where it leaves the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else page
    return path, unquote(parts.fragment)


def broken(folder: Path, pages: dict[str, Parsed]) -> list[str]:
    """Links that lead to no file of the site or to no place in a page, and what is loaded from elsewhere."""
    problems = []
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            goal = leads(name, link)
            if goal is None:
                problems += [f"{name} loads {link}"] * (link in page.loaded and not link.startswith("data:"))
            elif goal[0].startswith(("..", "/")) or not (folder / goal[0]).is_file():
                problems.append(f"{name}: {link} is no file")
            elif goal[1] and goal[0] in pages and goal[1] not in pages[goal[0]].places and link != "#":
                problems.append(f"{name}: {link} is no place")
    return problems


def reached(pages: dict[str, Parsed]) -> set[str]:
    """The pages that a reader comes to from the first one."""
    seen, waiting = {"index.html"}, ["index.html"]
    while waiting:
        name = waiting.pop()
        goals = {goal[0] for link in pages[name].links if (goal := leads(name, link)) and goal[0] in pages}
        waiting += sorted(goals - seen)
        seen |= goals
    return seen


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The site, and what was said while it was built."""
    folder = tmp_path_factory.mktemp("built")
    done = build(DOCS, folder)
    return folder / "site", "" if done.returncode == 0 else f"status {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def site(built: tuple[Path, str]) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Parsed]:
    return parsed(site)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opening.browser() as one:
        yield one


def test_it_builds_without_a_warning(built: tuple[Path, str]) -> None:
    assert built[1] == ""


def test_every_page_is_there_and_is_reached_from_the_first(pages: dict[str, Parsed]) -> None:
    assert {f"{file.stem}.html" for file in DOCS.glob("*.md")} <= set(pages)
    assert set(pages) - reached(pages) == {"search.html"}  # a form leads there


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[str, Parsed]) -> None:
    assert broken(site, pages) == []
    styles = "".join(file.read_text("utf-8") for file in (site / "_static").rglob("*.css"))
    assert re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import", styles) == []


def test_a_link_to_a_file_of_the_repository_shows_it(site: Path, pages: dict[str, Parsed]) -> None:
    assert "files/suites/saturation.py.html" in pages
    assert "SUITE" in (site / "files" / "suites" / "saturation.py.html").read_text("utf-8")
    assert (site / "files" / "docs" / "tutorial" / "scaling-and-scoring.ipynb").is_file()


def test_llms_txt_has_a_line_for_every_page(site: Path) -> None:
    text = (site / "llms.txt").read_text("utf-8")
    assert re.match(r"# attnbench\n\n> \S.*\n\n## Start\n\n- \[", text)
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", ">"))]
    named = [match[1] for line in lines if (match := re.fullmatch(r"- \[[^]]+\]\(([\w-]+\.html)\): \S.+", line))]
    assert len(named) == len(lines)
    assert "()" not in text  # where a link has no name of its own, it is named after its page
    assert sorted(named) == sorted(f"{file.stem}.html" for file in DOCS.glob("*.md") if file.stem != "index")
    full = (site / "llms-full.txt").read_text("utf-8")
    assert all(f"\nFrom {name}\n" in full for name in named)
    assert "attend(" in full.partition("\nFrom python.html\n")[2]
    assert "{face}" not in full
    assert "](../" not in full
    pages_linked = {match[1] for match in re.finditer(r"\]\(([\w-]+)\.(?:md|html)[)#]", full)}
    assert {f"{name}.html" for name in pages_linked} <= {*named, "index.html"}


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("# A\n\nFirst. Second.\n\nThird.", "First. Second."),
        ("# A\n\n```bash\nx\n```\n\ngoes on here:\n\nThis is said.", "This is said."),
        ("# A\n\n| a |\n|---|\n| b |\n\nAfter a table:", "After a table"),
        ("# A\n\n`attend` begins with code.", "attend begins with code."),
        ("# A\n\n* in a list\n\nonly this", "only this"),
        ("# A\n\n```bash\nx\n```\n", ""),
    ],
)
def test_a_line_on_a_page_is_of_its_first_prose(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    core, parsers = importlib.import_module("docutils.core"), importlib.import_module("myst_parser.docutils_")
    monkeypatch.syspath_prepend(str(DOCS / "_extensions"))
    text = core.publish_doctree(page, parser=parsers.Parser(), settings_overrides={"doctitle_xform": False})
    assert importlib.import_module("llms_text").summary(text) == line


def test_what_is_broken_is_seen(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        "<a href='no.html'>a</a><a href='#no'>b</a><a href='https://a.b'>c</a>"
        "<a href='../index.html'>d</a><img src='//x.y/z.png'><p id='p'>"
    )
    (tmp_path / "alone.html").write_text("<a href='index.html#p'>a</a>")
    pages = parsed(tmp_path)
    assert broken(tmp_path, pages) == [
        "index.html: no.html is no file",
        "index.html: #no is no place",
        "index.html: ../index.html is no file",
        "index.html loads //x.y/z.png",
    ]
    assert set(pages) - reached(pages) == {"alone.html"}


PLANTED = {
    "index.md": "# First\n\n```{toctree}\nlinks\ntexts\nmissing\n```\n",
    "links.md": (
        "# Links\n\n[a](texts.md#no-such-part) [b](../suites/none.py) [c](../suites) [d](none.md) [e](../../out.md)\n"
        "\n[f](../kept) {py:obj}`attnbench.open` {py:obj}`attnbench.nonsense.Run` `[no link](../suites/none.py)`\n"
        "\n```text\n[no link](../suites/none.py)\n```\n"
    ),
    "texts.md": (
        "# Texts\n\n## Twice\n\n## Twice\n\n```nosuch\nx\n```\n\n```mermaid\nflowchart TD\n    a -.-> b\n```\n"
        "\n```mermaid\nflowchart TD\n```\n"
        "\n```{face} attnbench.nothing\n```\n\n```{face} bare\n```\n"
    ),
    "alone.md": "# In no tree\n",
}
SEEN = (
    "local id not found in doc 'texts': 'no-such-part'",
    r"the link \.\./suites/none\.py leads to no file of the repository",
    r"the link \.\./suites leads to a folder; link to a file in it",
    r"cross-reference target not found: 'none\.md'",
    r"the link \.\./\.\./out\.md leads out of the repository",
    "the heading 'Twice' is there 2 times",
    "Pygments lexer name 'nosuch' is not known",
    "a line of a figure is 'a --> b & c' or 'a', and this one is 'a -.-> b'",
    "a figure has a line at least, such as 'a --> b'",
    "reference target not found: attnbench.open ",
    r"reference target not found: attnbench\.nonsense\.Run",
    "face attnbench.nothing: No module named 'attnbench.nothing'",
    "face bare: no docstring: bare.silent",
    "alone.md: WARNING: document isn't included in any toctree",
    "nonexisting document 'missing'",
)


def test_what_is_wrong_in_a_page_ends_the_build(tmp_path: Path) -> None:
    source = tmp_path / "clone" / "docs"
    (tmp_path / "clone" / "suites").mkdir(parents=True)
    (tmp_path / "clone" / "kept").mkdir()
    (tmp_path / "clone" / "kept" / "README.md").write_text("# Kept\n")  # what a link to the folder leads to
    source.mkdir()
    for name, text in PLANTED.items():
        (source / name).write_text(text)
    (source.parent / "bare.py").write_text("__all__ = ['silent']\n\n\ndef silent():\n    pass\n")
    done = build(source, tmp_path / "out")
    assert done.returncode == 1
    assert [line for line in SEEN if not re.search(line, done.stderr)] == []
    assert done.stderr.count("suites/none.py") == 2  # twice of the link, and not of the text
    assert "kept" not in done.stderr


def test_search_finds_without_a_network(browser: Browser, site: Path) -> None:
    with opened(browser, site / "index.html") as seen:
        seen.page.locator("input.sidebar-search").fill(SEARCHED)
        seen.page.locator("input.sidebar-search").press("Enter")
        seen.page.wait_for_selector("#search-results li a")
        results = seen.page.locator("#search-results li a")
        assert results.count() >= 3
        results.first.click()
        assert SEARCHED in seen.page.locator("article").inner_text()
        assert [url for url in seen.requests if not url.startswith((site.as_uri(), "data:"))] == []
        assert seen.errors == []


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_can_be_read_light_and_dark_wide_and_narrow(browser: Browser, site: Path, name: str) -> None:
    with opened(browser, site / f"{name}.html", color_scheme="light") as seen:
        assert [url for url in seen.requests if not url.startswith((site.as_uri(), "data:"))] == []
        assert seen.errors == []
        assert seen.overflow() == 0
        if name in HELD:
            assert seen.axe() == []  # it asks for the styles again, which a browser refuses of a file
            seen.page.emulate_media(color_scheme="dark")
            assert seen.axe("color-contrast") == []
        seen.page.set_viewport_size({"width": 360, "height": 800})
        assert seen.overflow() == 0
