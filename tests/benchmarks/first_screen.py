"""What a page of 1,000 cells costs: ``python -m tests.benchmarks.first_screen``.

The seconds and the bytes of its report, when the browser has drawn its first screen (the median of three openings), and
how long a filter and a sort take in it with all tables unfolded (the median of three).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from attnbench.report import write_report
from tests.browser.opening import browser, opened
from tests.browser.test_page import PAINTED, REDRAWN
from tests.report import thousand

SORTED = """() => {
  const start = performance.now();
  document.querySelector("[data-sort$='.time']").click();
  document.body.offsetHeight;
  return performance.now() - start;
}"""


def main() -> None:
    """Print a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        run = thousand.write(Path(folder) / "r")
        start, used = time.perf_counter(), time.process_time()
        page = write_report([run], Path(folder) / "page")
        took, used = time.perf_counter() - start, time.process_time() - used
        print(f"report        {took:.1f} s ({used:.1f} s of processor)")
        print(f"page          {page.stat().st_size / 1e6:.2f} MB")
        painted, filtered, ordered = [], [], []
        with browser() as one:
            for _ in range(3):
                with opened(one, page, width=1440) as seen:
                    painted.append(seen.page.evaluate(PAINTED))
                    seen.unfold()
                    seen.page.wait_for_function("() => document.querySelectorAll('.drawn tbody tr').length === 1000")
                    ordered.append(seen.page.evaluate(SORTED))
                    filtered.append(seen.page.evaluate(REDRAWN))
        for name, found in (("first screen", painted), ("sort", ordered), ("filter", filtered)):
            print(f"{name:13s} {statistics.median(found):.0f} ms")


if __name__ == "__main__":
    main()
