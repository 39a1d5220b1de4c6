"""Links to what other libraries document, by the rules their sites name pages by: no inventory is downloaded."""

from docutils import nodes

_PAGES = {
    "sklearn.": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "torch.": "https://docs.pytorch.org/docs/stable/generated/{}.html",
    "numpy.": "https://numpy.org/doc/stable/reference/generated/{}.html",
    "scipy.": "https://docs.scipy.org/doc/scipy/reference/generated/{}.html",
    "pandas.": "https://pandas.pydata.org/docs/reference/api/{}.html",
}
_SKLEARN = "https://scikit-learn.org/stable/"
_LABELS = {  # of the docstrings that scikit-learn's classes hand down
    "metadata_routing": f"{_SKLEARN}metadata_routing.html",
    "meta-estimator": f"{_SKLEARN}glossary.html#term-meta-estimator",
    "accuracy_score": f"{_SKLEARN}modules/model_evaluation.html#accuracy-score",
    "r2_score": f"{_SKLEARN}modules/model_evaluation.html#r2-score",
}


def _resolve(app, env, node, content):  # noqa: ARG001 Sphinx passes them
    target = node["reftarget"]
    address = _LABELS.get(target)
    for start, page in _PAGES.items():
        if target.startswith(start):
            address = page.format(target)
    if address is None:
        return None
    if node["reftype"] == "ref" and not node["refexplicit"]:
        content = nodes.inline("", target.replace("_", " "))
    return nodes.reference("", "", content, internal=False, refuri=address)


def setup(app):
    """Resolve what Sphinx finds nowhere."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
