"""A module with a public name that says nothing of itself, for the test of the site."""

__all__ = ["silent"]


def silent() -> None:
    pass
