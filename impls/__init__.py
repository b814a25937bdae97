"""The implementations, one folder for each backend; installed as `attnbench.impls`.

The folder lies beside the harness and not inside it, so that a newcomer finds it at once. It has one
importable name all the same: under a second name every module would be loaded twice, and an
implementation registered in one copy would be unknown to the other.
"""

if __name__ != "attnbench.impls":
    _MESSAGE = (
        f"the folder impls/ was imported as {__name__!r}; its only importable name is 'attnbench.impls'. "
        "Type: python -m pip install -e . (once, in the repository root), then import attnbench.impls"
    )
    raise ImportError(_MESSAGE, name=__name__, path=__file__)
