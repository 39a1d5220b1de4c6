"""Formulas of docstrings as equations in the site; in the docstrings they are plain text, for ``help``."""

import re

_FORMULA = re.compile(r"``([^`]*(?:\bsum_(?:\w\b|\{)|ReLU\()[^`]*)``")
_RULES = [
    (r"softmax over the row's pairs of ", r"\\operatorname{softmax}_{i<j} \\, "),
    (r"\[(sum_\{i in f\} v_i x_i) for each field f\]", r"\\big[ \1 \\big]_{f = 1, 2, ...}"),
    (r"(l2_\w+) \* ", lambda match: rf"\mathtt{{{match[1].replace('_', chr(92) + '_')}}} \, "),
    (r"<(v[^<>]*)>", r"\\langle \1 \\rangle"),  # <v_i, v_j>
    (r"<-", r"\\leftarrow "),
    (r"\|\|(\w+)\|\|", r"\\lVert \1 \\rVert"),
    (r"\b(raw|MLP|ReLU|norm|units|pooled|order)(?![a-z])", r"\\operatorname{\1}"),
    (r"\^(\\operatorname\{order\})", r"^{\1}"),
    (r"query of s", r"\\text{query of } s"),
    (r"\blog ", r"\\log "),
    (r"\bsum_", r"\\sum_"),
    (r" in ", r" \\in "),
    (r"\.\.\.", r"\\dots "),
    (r"\b([awv]'?)_([ijf]{2}|ic)\b", r"\1_{\2}"),  # a_ij
    (r"\bw0_c\b", "w_{0c}"),
    (r"\bw0\b", "w_0"),
    (r"(\b[ph](?:_c)?)'", r"\1^\\top"),  # p'
    (r" \* ", r" \\odot "),
]


def to_latex(formula):
    """Return a formula of a docstring in LaTeX."""
    for pattern, replacement in _RULES:
        formula = re.sub(pattern, replacement, formula)
    return " ".join(formula.split())


def to_math(docstring):
    """Return a docstring with its formulas as math: those that are a paragraph by themselves as equations."""
    paragraphs = re.split(r"(\n\s*\n)", docstring)
    return "".join(_paragraph(each) for each in paragraphs)


def _paragraph(text):
    formulas = _FORMULA.findall(text)
    if not formulas or re.sub(r"``[^`]*``[,;]?", "", text).strip():
        return _FORMULA.sub(lambda match: f":math:`{to_latex(match[1])}`", text)
    indent = re.match(r"\s*", text)[0]
    lines = re.findall(r"``([^`]*)``", text)
    return f"{indent}.. math::\n\n" + "\n\n".join(f"{indent}    {to_latex(line)}" for line in lines)


def _process(app, what, name, obj, options, lines):  # noqa: ARG001 Sphinx passes them
    lines[:] = to_math("\n".join(lines)).split("\n")


def setup(app):
    """Set the formulas before numpydoc reads the docstrings."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
