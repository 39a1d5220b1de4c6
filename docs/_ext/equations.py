r"""Equations that keep the number of their paper: what ``\tag{6}`` says, ``:eq:`` refers to."""

import re

from docutils import nodes

_TAG = re.compile(r"\s*\\tag\{(\w+)\}")


def _number(app, doctree):
    domain = app.env.domains.math_domain
    for node in doctree.findall(nodes.math_block):
        tag = _TAG.search(node.astext())
        if tag:
            node.children = [nodes.Text(_TAG.sub("", node.astext()))]
            node["number"] = tag[1]
            domain.equations[node["label"]] = (app.env.current_document.docname, tag[1])


def setup(app):
    """Have equations numbered when a page is read."""
    app.connect("doctree-read", _number)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
