"""The documentation as a site: `tox -e site` builds it into build/site, and nothing of it needs a network.

The pages are the Markdown files beside this one, which can be read as they are too. What Sphinx does not do by itself
stands in `_extensions`: figures drawn from text, links to files of the repository, the faces of the Python package,
and `llms.txt`.
"""

import sys
from pathlib import Path

from attnbench import __version__

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_extensions"))

project = "attnbench"
author = "attnbench contributors"
copyright = author  # noqa: A001  (Sphinx's name for it)
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "repository_files",
    "drawn_figures",
    "python_faces",
    "headings",
    "llms_text",
]
exclude_patterns = ["_extensions", "_static", "tutorial"]

# Markdown
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
myst_url_schemes = {
    "http": None,
    "https": None,
    "mailto": None,
    # Written by `repository_files`, of links to files that are no pages. All pages stand in one folder.
    "repository": "files/{{path}}",
}

# Python
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
add_module_names = False

# Strict: every name in a signature is one that the site or its owner explains.
nitpicky = True

# How it looks
html_theme = "furo"
html_title = "attnbench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_use_index = False  # the search finds names, and an index of all letters says no more
html_domain_indices = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_theme_options = {"navigation_with_keys": True}
