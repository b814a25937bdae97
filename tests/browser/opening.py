"""A browser for the tests of the page, and what it saw: requests, errors, what overflows, what axe finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "ATTNBENCH_BROWSER"  # `required`: without a browser the tests fail, and are not skipped
WIDTHS = (360, 800, 1400)
# The boxes that scroll by themselves are meant to hold more than they show.
OVERFLOWING = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""
UNFOLD = "() => document.querySelectorAll('details').forEach((details) => { details.open = true; })"
AXE = """(rules) => axe.run({ resultTypes: ["violations"], ...(rules ? { runOnly: rules } : {}) }).then((result) =>
  result.violations.filter((violation) => ["serious", "critical"].includes(violation.impact)).map((violation) =>
    [violation.id, ...violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))].join(" | ")))"""


def program() -> str:
    """The browser's program; the test is skipped without one, or fails where ``ATTNBENCH_BROWSER`` is ``required``."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is not None:
        return path
    why = f"needs a browser: {', '.join(PROGRAMS)}"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{why}; {REQUIRED} says that there is one")
    pytest.skip(why)


@contextmanager
def browser() -> Iterator[Browser]:
    """One browser."""
    path = program()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Seen:
    """A page and what came up while it was open."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def rows(self, column: int) -> list[str]:
        """The texts of a column of the first table of cells."""
        return [text.strip() for text in self.page.locator(f".drawn tbody td:nth-child({column})").all_inner_texts()]

    def axe(self, *rules: str) -> list[str]:
        """What axe-core finds that is serious or critical, by all its rules or by these."""
        spec = find_spec("axe_playwright_python")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        script = Path(spec.submodule_search_locations[0]) / "axe.min.js"
        self.page.evaluate(script.read_text("utf-8"))
        return list(self.page.evaluate(AXE, list(rules) or None))

    def unfold(self) -> None:
        """Open all that is folded."""
        self.page.evaluate(UNFOLD)

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate(OVERFLOWING))


@contextmanager
def opened(browser: Browser, file: Path, fragment: str = "", *, width: int = 1400, **options: Any) -> Iterator[Seen]:
    """A page from a file in a window of its own, without a network."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
    seen = Seen(context.new_page())
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    seen.page.set_default_timeout(60_000)
    seen.page.goto(file.as_uri() + fragment)
    yield seen
    context.close()
