"""Sphinx's configuration: HTML pages (`make docs`) and man pages (`make man`) from these files.

It works with Sphinx 5.3 and myst-parser 0.18 (Debian 12) and newer ones, and needs no network.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

from cuberouted_docs.man_pages import man_pages as list_man_pages  # noqa: E402 - see sys.path

from cuberouted import __version__  # noqa: E402
from cuberouted.cli.main import main  # noqa: E402

project = "cuberouted"
version = release = __version__
extensions = ["myst_parser", "cuberouted_docs"]
exclude_patterns = ["_ext"]
needs_sphinx = "5.3"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
smartquotes = False  # `--wait` has two hyphens
nitpicky = True
highlight_language = "none"

html_theme = "alabaster"
html_title = f"cuberouted {version}"
html_static_path = ["_static"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_sidebars = {"**": ["about.html", "searchbox.html", "localtoc.html", "navigation.html"]}
html_theme_options = {
    "description": "Route sharing for OpenVPN servers of one client subnet",
    "show_powered_by": False,
    "page_width": "1240px",
    "body_max_width": "none",
    "sidebar_width": "240px",
}

man_pages = list_man_pages(main)
man_make_section_directory = False
man_show_urls = False
