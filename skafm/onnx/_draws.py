"""Probabilities of a Bayesian classifier, averaged over its draws, as nodes of a graph.

Letters in shapes: B rows, N entries, D draws of all outputs, S of each of C, k factors.
"""

import numpy as np


def add_probabilities(graph, model, entries):
    """Return the probabilities (B, n_classes): means of ``Phi(raw)`` over the draws, of several normalized."""
    n_outputs, n_draws = np.atleast_2d(model.intercept_draws_).shape
    raw = _raw_draws(graph, model, entries)  # (B, D)
    # onnxruntime has no Erf of float64.
    erf = graph.Erf(graph.Cast(graph.Div(raw, graph.scalar(2**0.5)), to=graph.onnx.TensorProto.FLOAT))
    phi = graph.Div(graph.Add(graph.Cast(erf, to=graph.float), graph.scalar(1)), graph.scalar(2))  # (B, D)
    mean = np.kron(np.eye(n_outputs), np.full((n_draws, 1), 1 / n_draws)).astype(graph.dtype)  # (D, C)
    p = graph.MatMul(phi, mean)  # (B, C)
    if n_outputs == 1:
        return graph.Concat(graph.Sub(graph.scalar(1), p), p, axis=1)
    return graph.Div(p, graph.ReduceSum(p, [1], keepdims=1))


def _raw_draws(graph, model, entries):
    """Return the raw scores (B, D) by each draw, by Rendle's identity; ``factors_`` are divided by the root of S."""
    n_draws = model.intercept_draws_.shape[-1]
    weights = np.concatenate([model.linear_coef_draws_, model._missing_draws]).astype(graph.dtype)
    weights = weights.reshape(len(weights), -1)  # (n, D)
    factors = np.concatenate([model.factors_, model._missing_rows.get("factors", model.factors_[:0])])  # (n, D k)
    embedded = graph.Mul(graph.Gather(factors, entries.indices), entries.data)  # (N, D k)
    total = graph.sum_rows(embedded, entries.rows)  # (B, D k)
    squares = graph.sum_rows(graph.Mul(embedded, embedded), entries.rows)  # (B, D k)
    k = factors.shape[1] // weights.shape[1]
    of_draws = np.kron(np.eye(weights.shape[1]), np.full((k, 1), n_draws / 2)).astype(graph.dtype)  # (D k, D)
    pairs = graph.MatMul(graph.Sub(graph.Mul(total, total), squares), of_draws)  # (B, D)
    linear = graph.sum_rows(graph.Mul(graph.Gather(weights, entries.indices), entries.data), entries.rows)  # (B, D)
    intercepts = model.intercept_draws_.ravel().astype(graph.dtype)
    return graph.Add(graph.Add(intercepts, linear), pairs)
