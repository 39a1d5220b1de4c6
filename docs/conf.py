"""The documentation site: ``python -m sphinx -W --keep-going -n -b html docs docs/_build/html``, without a network."""

import os
import sys
from importlib.metadata import distribution
from pathlib import Path

import skafm

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "skafm"
author = copyright = "The skafm developers"  # noqa: A001 Sphinx's name
release = version = skafm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "changelog",
    "equations",
    "foreign",
    "formulas",
]
exclude_patterns = ["_build", "_templates", "**sg_execution_times.rst"]
templates_path = ["_templates"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "skafm"
html_favicon = "_static/logo.svg"
# MathJax comes from a package, not from a network.
mathjax = distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js")
mathjax_path = "tex-svg.js"
html_static_path = ["_static", str(mathjax)]
html_css_files = ["skafm.css"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["pages"]}
html_theme_options = {
    "logo": {"text": "skafm", "image_light": "_static/logo.svg", "image_dark": "_static/logo.svg"},
    "navbar_start": ["navbar-logo", "version"],
    "navbar_align": "left",
    "navbar_center": ["links"],
    "show_prev_next": True,
    # Not in folders: their pages show files and docstrings of the project, whose lines have 120 columns.
    "secondary_sidebar_items": {"*": ["page-toc"]},
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}

# Inventories want a network: INTERSPHINX=1 asks for them, else _ext/foreign.py names the pages by their sites' rules.
_sites = {
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
intersphinx_mapping = {name: (site, None) for name, site in _sites.items()} if os.environ.get("INTERSPHINX") else {}

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say them
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"^(?!plot_)",
    "nested_sections": False,
    "within_subsection_order": "gallery.Order",
    "reset_argv": "gallery.arguments",
    "reset_modules": ("matplotlib", "gallery.strict"),
    "reset_modules_order": "both",
    "image_scrapers": ("gallery.plots",),
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("skafm",),
    "parallel": True,  # as many as -j says
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "abort_on_example_error": False,
}
