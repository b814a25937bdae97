"""The questions, one file for each suite; installed as `attnbench.suites`.

The folder lies beside the harness and not inside it, so that a newcomer finds it at once. It has one
importable name all the same: under a second name every suite would be loaded twice, as two objects
which are not the same suite.
"""

if __name__ != "attnbench.suites":
    _MESSAGE = (
        f"the folder suites/ was imported as {__name__!r}; its only importable name is 'attnbench.suites'. "
        "Type: python -m pip install -e . (once, in the repository root), then import attnbench.suites"
    )
    raise ImportError(_MESSAGE, name=__name__, path=__file__)
