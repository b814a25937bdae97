"""Shapes: the head counts, sizes and masks of real models as named problems. The data is in ``models.toml``."""

from attnbench.catalogue.shapes import PHASES, Shape, case, shape, shape_names, shapes

__all__ = ["PHASES", "Shape", "case", "shape", "shape_names", "shapes"]
