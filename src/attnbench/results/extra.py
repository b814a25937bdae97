"""Whether the extra ``[report]`` is installed: run, report and compare ask before they import it."""

from importlib.util import find_spec

from attnbench.errors import MissingExtraError

REPORT_PACKAGES = ("pandas", "pyarrow", "scipy", "matplotlib", "seaborn", "jinja2")


def check_report_extra(what: str) -> None:
    """Raise ``MissingExtraError`` if ``what`` cannot work here; looks, but imports nothing."""
    for package in REPORT_PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(what, "report", package)
