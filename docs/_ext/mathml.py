r"""Equations as MathML, which browsers draw themselves: no script, no font and no network.

An equation keeps the number of its paper where it says ``\tag{6}``; ``:eq:`` refers to it by that.
"""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util.math import get_node_equation_number

_TAG = re.compile(r"\s*\\tag\{(\w+)\}")


def _inline(translator, node):
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math equation"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(convert(node.astext(), display="block") + "</div>\n")
    raise nodes.SkipNode


def _number(app, doctree):
    """Give tagged equations their paper's number."""
    domain = app.env.domains.math_domain
    for node in doctree.findall(nodes.math_block):
        tag = _TAG.search(node.astext())
        if tag:
            node.children = [nodes.Text(_TAG.sub("", node.astext()))]
            node["number"] = tag[1]
            if node["label"]:
                domain.equations[node["label"]] = (app.env.current_document.docname, tag[1])


def setup(app):
    """Offer the renderer to Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("doctree-read", _number)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
