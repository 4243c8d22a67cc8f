"""Settings of the documentation site: `make docs` builds it in build/site."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The code of this checkout, whatever else is installed, and the generators beside this file.
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from serct import __version__  # noqa: E402

project = "SERCT"
author = "The SERCT authors"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "_generate",
]
exclude_patterns = ["_generate"]
# Blocks without a language are commands and files: they are shown as they are.
highlight_language = "none"

# Pages are Markdown. Headings down to the third level are link targets, as on a code host.
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3

# Docstrings are in Google style; single backticks in them are code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "notes_style")]
python_maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = "SERCT"
html_static_path = ["_static"]
html_css_files = ["serct.css"]
html_logo = "images/logo.svg"
html_favicon = "images/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "SERCT", "alt_text": "SERCT, home"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_nav_level": 2,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}

# A prompt or the output of a command is not copied.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"
