"""What the models compute, as nodes of a graph.

The formulas are those of ``skafm/nn/functional.py``, node by node; comments give the shapes of the results. Letters in
shapes: B rows, N entries, P pairs, k factors, t attention size, C outputs.
"""

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skafm._estimators.fitted_state import separate_intercept
from skafm._estimators.regression_losses import fitted_loss
from skafm.onnx._draws import add_probabilities

_EPSILON = 1e-5
"""Is added to the variances of batch normalization."""


class Entries(NamedTuple):
    """Names of the results that hold the non-zero entries of all rows, ordered by row."""

    indices: str
    """Feature (N,) of each entry."""
    data: str
    """Value (N, 1) of each entry."""
    rows: str
    """Row (N,) of each entry."""
    ends: str
    """Position (B,) behind the last entry of each row."""


def csr_entries(graph):
    """Return the entries of the inputs ``indices``, ``data`` and ``indptr``, and set the graph's number of rows."""
    indices = graph.Cast("indices", to=graph.integer)  # (N,)
    indptr = graph.Cast("indptr", to=graph.integer)  # (B + 1,)
    starts = graph.Slice(indptr, [0], [-1])  # (B,)
    graph.n_rows = graph.Shape(starts)  # (1,)
    rows = graph.repeat(starts, graph.Shape(indices))  # (N,)
    return Entries(indices, graph.Unsqueeze("data", [1]), rows, graph.Slice(indptr, [1], [2**31]))


def dense_entries(graph, X):
    """Return the entries of a tensor (B, n_features) of any number type, and set the graph's number of rows."""
    X = graph.Cast(X, to=graph.float)
    graph.n_rows = graph.Shape(X, end=1)  # (1,)
    present = graph.Not(graph.Equal(X, graph.scalar(0)))  # (B, n_features); onnxruntime has no NonZero of float64
    positions = graph.NonZero(present)  # (2, N), ordered by row
    data = graph.GatherND(X, graph.Transpose(positions, perm=[1, 0]))  # (N,)
    n_entries = graph.ReduceSum(graph.Cast(present, to=graph.integer), [1], keepdims=0)  # (B,)
    rows, indices = graph.Gather(positions, 0), graph.Gather(positions, 1)  # (N,)
    return Entries(indices, graph.Unsqueeze(data, [1]), rows, graph.CumSum(n_entries, 0))


def check_model(model):
    """Raise an error if a model is not fitted, or if the precision of its graph is not enough."""
    check_is_fitted(model)
    if separate_intercept(model) is not None:
        raise ValueError(
            f"intercept_ is {model.intercept_!r}, which the precision of the graph, {model.factors_.dtype}, cannot "
            "represent beside the spread of y: fit the model on X in float64."
        )


def add_results(graph, model, entries, *, ravel):
    """Add what a model predicts of the entries, and return the results by the names of the outputs.

    They are ``variable`` (B, C) of a regressor or ranker, (B,) with ``ravel`` if there is one output, or ``label`` (B,)
    and ``probabilities`` (B, n_classes) of a classifier.
    """
    if model._missing_rows:
        entries = _add_missing_fields(graph, model, entries)
    if hasattr(model, "classes_") and hasattr(model, "intercept_draws_"):
        return _label(graph, model.classes_, add_probabilities(graph, model, entries))
    raw = _raw_scores(graph, model, entries)
    single = np.ndim(model.intercept_) == 0
    if hasattr(model, "classes_"):
        return _classify(graph, model.classes_, raw, single=single)
    link = fitted_loss(model).link if hasattr(model, "_fitted_loss") else "identity"  # a ranker has none
    prediction = {"identity": lambda each: each, "log": graph.Exp, "logit": graph.Sigmoid}[link](raw)
    bounds = model._prediction_bounds() if hasattr(model, "_prediction_bounds") else None
    if bounds is not None:
        low, high = (np.asarray(bound, graph.dtype) for bound in bounds)
        prediction = graph.Min(graph.Max(prediction, low), high)
    return {"variable": graph.Squeeze(prediction, [1]) if single and ravel else prediction}


def _classify(graph, classes, raw, *, single):
    """Return label and probabilities, the softmax of the raw scores; the first of two classes has the score 0."""
    if single:
        raw = graph.Concat(graph.Mul(raw, graph.scalar(0)), raw, axis=1)  # (B, 2)
    return _label(graph, classes, raw) | {"probabilities": graph.Softmax(raw, axis=1)}


def _label(graph, classes, scores):
    """Return the label of the highest score or probability (B, n_classes), and these as probabilities."""
    if classes.dtype.kind not in "biuf":
        classes = classes.astype(object)
    return {"label": graph.Gather(classes, graph.ArgMax(scores, axis=1, keepdims=0)), "probabilities": scores}


def _raw_scores(graph, model, entries):
    """Return the raw scores (B, C): intercept, linear term, interaction and deep part, those that the model has."""
    weights = np.atleast_2d(model.linear_coef_).T  # (n_features, C)
    if model._missing_rows:
        weights = np.concatenate([weights, model._missing_rows["linear.weight"].reshape(-1, weights.shape[1])])
    weights = graph.Gather(weights, entries.indices)  # (N, C)
    linear = graph.sum_rows(graph.Mul(weights, entries.data), entries.rows)  # (B, C)
    raw = graph.Add(np.atleast_1d(model.intercept_), linear)  # (B, C)
    for term in _terms_of(model):
        raw = graph.Add(raw, term(graph, model, entries))  # (B, C)
    return raw


def _terms_of(model):
    """Return what a model has beside its linear part: functions of graph, model and entries."""
    terms = []
    if _interaction_projection(model).shape[1]:
        attention = _afm_interaction if hasattr(model, "attention_coef_") else _fm_interaction
        terms.append(_fwfm_interaction if hasattr(model, "field_weights_") else attention)
    return [*terms, _deep_part] if hasattr(model, "coefs_") else terms


def _interaction_projection(model):
    """Return p (C, k), ones for a model without; (C, 0) if there is no interaction."""
    p = np.atleast_2d(getattr(model, "projection_", np.ones_like(model.factors_[0])))
    return p[:, : p.shape[1] - _n_hidden(model)]


def _n_hidden(model):
    """Return the size of the last hidden layer, 0 without one."""
    return len(model.intercepts_[-1]) if hasattr(model, "coefs_") else 0


def _table(model, name, attribute):
    """Return a per-feature parameter with its rows for missing fields."""
    table = getattr(model, attribute)
    return np.concatenate([table, model._missing_rows.get(name, table[:0])])


def _add_missing_fields(graph, model, entries):
    """Return the entries, and one of value 1 for each field that a row lacks, the last of the row."""
    starts, stops = model._missing_bounds[::2], model._missing_bounds[1::2]
    indices = graph.Unsqueeze(entries.indices, [1])  # (N, 1)
    present = graph.Not(graph.Equal(entries.data, graph.scalar(0)))  # (N, 1)
    inside = graph.And(graph.GreaterOrEqual(indices, starts), graph.Less(indices, stops))  # (N, F)
    counts = graph.sum_rows(graph.Cast(graph.And(inside, present), to=graph.float), entries.rows)  # (B, F)
    lacks = graph.Equal(counts, graph.scalar(0))  # (B, F)
    n_missing = graph.ReduceSum(graph.Cast(lacks, to=graph.integer), [1], keepdims=0)  # (B,)
    before = graph.CumSum(n_missing, 0, exclusive=1)  # (B,)
    missing = graph.NonZero(lacks)  # (2, M), ordered by row
    rows, fields = graph.Gather(missing, 0), graph.Gather(missing, 1)  # (M,)
    positions = graph.Range(0, graph.Squeeze(graph.Shape(entries.indices)), 1)  # (N,)
    known = graph.Add(positions, graph.Gather(before, entries.rows))  # (N,) new positions
    rank = graph.Range(0, graph.Squeeze(graph.Shape(rows)), 1)  # (M,)
    positions = graph.Concat(known, graph.Add(graph.Gather(entries.ends, rows), rank), axis=0)  # (N + M,)

    def merge(old, new):
        values = graph.Concat(old, new, axis=0)  # (N + M,)
        return graph.ScatterElements(values, positions, values, axis=0)

    ones = graph.Expand(graph.scalar(1), graph.Shape(rows))  # (M,)
    return Entries(
        indices=merge(entries.indices, graph.Add(fields, np.array(model.n_features_in_, np.int64))),
        data=graph.Unsqueeze(merge(graph.Squeeze(entries.data, [1]), ones), [1]),
        rows=merge(entries.rows, rows),
        ends=graph.Add(entries.ends, graph.CumSum(n_missing, 0)),
    )


def _fm_interaction(graph, model, entries):
    """``p' sum_{i<j} (v_i * v_j) x_i x_j``, by Rendle's identity ``p' 1/2 [(sum_i v_i x_i)^2 - sum_i (v_i x_i)^2]``."""
    embedded = _embed(graph, model, entries)  # (N, k)
    total = graph.sum_rows(embedded, entries.rows)  # (B, k)
    squares = graph.sum_rows(graph.Mul(embedded, embedded), entries.rows)  # (B, k)
    return graph.MatMul(graph.Sub(graph.Mul(total, total), squares), _interaction_projection(model).T / 2)  # (B, C)


def _embed(graph, model, entries):
    """Return ``v_i x_i`` (N, k) of each entry."""
    return graph.Mul(graph.Gather(_table(model, "factors", "factors_"), entries.indices), entries.data)


def _field_sums(graph, model, entries, embedded):
    """Return ``sum_{i in f} v_i x_i`` of each row and field: (B, F, k)."""
    n_fields, k = int(model.fields_.max()) + 1, model.factors_.shape[1]
    field = graph.Gather(_table(model, "fields", "fields_"), entries.indices)  # (N,)
    cell = graph.Add(graph.Mul(entries.rows, np.array(n_fields)), field)  # (N,), row and field
    n_cells = graph.Mul(graph.n_rows, np.array([n_fields]))  # (1,)
    sums = graph.scatter(embedded, cell, initial=0, reduction="add", n_rows=n_cells)  # (B F, k)
    return graph.Reshape(sums, graph.Concat(graph.n_rows, np.array([n_fields, k]), axis=0))


def _fwfm_interaction(graph, model, entries):
    """``1/2 p' [sum_fg r_fg S_f * S_g - sum_i r_{f(i) f(i)} (v_i x_i)^2]``, S_f the sum of a field's ``v_i x_i``."""
    embedded = _embed(graph, model, entries)  # (N, k)
    r = (model.field_weights_ + model.field_weights_.T) / 2  # (F, F)
    sums = _field_sums(graph, model, entries, embedded)  # (B, F, k)
    total = graph.ReduceSum(graph.Mul(sums, graph.MatMul(r, sums)), [1], keepdims=0)  # (B, k)
    own = r.diagonal()[_table(model, "fields", "fields_")][:, None]  # (n_features, 1)
    weighted = graph.Mul(graph.Mul(embedded, embedded), graph.Gather(own, entries.indices))  # (N, k)
    pooled = graph.Sub(total, graph.sum_rows(weighted, entries.rows))  # (B, k)
    return graph.MatMul(pooled, _interaction_projection(model).T / 2)  # (B, C)


def _deep_part(graph, model, entries):
    """``q' MLP([sum_{i in f} v_i x_i for each field f])``, with batch normalization by the running averages."""
    sums = _field_sums(graph, model, entries, _embed(graph, model, entries))  # (B, F, k)
    z = graph.Flatten(sums)  # (B, F k)
    for layer, (coef, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        z = graph.Add(graph.MatMul(z, coef), intercept)  # (B, n_out)
        if hasattr(model, "norm_scales_"):
            factor = model.norm_scales_[layer] / np.sqrt(model.norm_variances_[layer] + _EPSILON)
            z = graph.Mul(graph.Sub(z, model.norm_means_[layer]), factor.astype(graph.dtype))
            z = graph.Add(z, model.norm_shifts_[layer])
        z = graph.Relu(z)
    return graph.MatMul(z, np.atleast_2d(model.projection_)[:, -_n_hidden(model) :].T)  # (B, C)


def _afm_interaction(graph, model, entries):
    """``p' sum_{i<j} a_ij (v_i * v_j) x_i x_j``, the interaction term of Eq. 6."""
    left, right = _pairs(graph, entries)  # (P,)
    rows = graph.Gather(entries.rows, left)  # (P,)
    embedded = _embed(graph, model, entries)  # (N, k)
    e = graph.Mul(graph.Gather(embedded, left), graph.Gather(embedded, right))  # (P, k)
    # a'_ij = h' ReLU(W e + b) (Eq. 5). Pairs with an explicit zero get no attention, as if the zero were not stored.
    hidden = graph.Relu(graph.Add(graph.MatMul(e, model.attention_coef_.T), model.attention_intercept_))  # (P, t)
    logits = graph.MatMul(hidden, model.attention_projection_[:, None])  # (P, 1)
    lowest = np.finfo(model.factors_.dtype).min
    is_zero = graph.Equal(entries.data, graph.scalar(0))  # (N, 1)
    has_zero = graph.Or(graph.Gather(is_zero, left), graph.Gather(is_zero, right))  # (P, 1)
    logits = graph.Where(has_zero, graph.scalar(lowest), logits)  # (P, 1)
    # a_ij = exp(a'_ij - maximum) / denominator in each row. If the maximum is that of a pair with a zero, all e are 0.
    maximum = graph.scatter(logits, rows, initial=lowest, reduction="max")  # (B, 1)
    weights = graph.Exp(graph.Sub(logits, graph.Gather(maximum, rows)))  # (P, 1)
    denominator = graph.Max(graph.sum_rows(weights, rows), graph.scalar(1))  # (B, 1); below 1 only without pairs
    scores = graph.MatMul(e, _interaction_projection(model).T)  # (P, C), p' e
    return graph.Div(graph.sum_rows(graph.Mul(weights, scores), rows), denominator)  # (B, C)


def _pairs(graph, entries):
    """Return the left and the right entry (P,) of each pair: an entry is paired with all later ones of its row."""
    positions = graph.Range(0, graph.Squeeze(graph.Shape(entries.indices)), 1)  # (N,)
    ends = graph.Gather(entries.ends, entries.rows)  # (N,)
    n_right = graph.Sub(graph.Sub(ends, positions), 1)  # (N,), later entries of the same row
    first_pair = graph.CumSum(n_right, 0, exclusive=1)  # (N,)
    n_pairs = graph.ReduceSum(n_right, keepdims=1)  # (1,)
    left = graph.repeat(first_pair, n_pairs)  # (P,)
    rank = graph.Sub(graph.Range(0, graph.Squeeze(n_pairs), 1), graph.Gather(first_pair, left))  # (P,), within its left
    return left, graph.Add(graph.Add(left, rank), 1)
