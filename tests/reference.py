"""The models by plain loops over `itertools.combinations`, in float64: slow, and the judge of everything fast."""

from itertools import combinations

import numpy as np


def entries(x):
    """Yield the (feature, value) entries of one dense row."""
    return [(i, float(value)) for i, value in enumerate(x) if value != 0]


def linear(x, intercept, weight):
    return intercept + sum(weight[i] * value for i, value in entries(x))


def fm(x, intercept, weight, factors, projection=None):
    """Eq. 1, or with a projection that of one of several outputs."""
    p = np.ones(len(factors[0])) if projection is None else projection
    raw = linear(x, intercept, weight)
    for (i, x_i), (j, x_j) in combinations(entries(x), 2):
        raw += sum(p[f] * factors[i][f] * factors[j][f] for f in range(len(p))) * x_i * x_j
    return raw


def attention(x, factors, W, b, h):
    """Eq. 5: the pairs of a row, their interacted vectors and their weights."""
    pairs, vectors, logits = [], [], []
    for (i, x_i), (j, x_j) in combinations(entries(x), 2):
        vector = factors[i] * factors[j] * x_i * x_j
        hidden = [max(0.0, sum(W[u][f] * vector[f] for f in range(len(vector))) + b[u]) for u in range(len(b))]
        pairs.append((i, j))
        vectors.append(vector)
        logits.append(sum(h[u] * hidden[u] for u in range(len(h))))
    exponentials = [np.exp(logit - max(logits)) for logit in logits]
    return pairs, vectors, [e / sum(exponentials) for e in exponentials]


def afm(x, intercept, weight, factors, W, b, h, p):
    """Eq. 6."""
    _, vectors, weights = attention(x, factors, W, b, h)
    pooled = sum((a * vector for a, vector in zip(weights, vectors, strict=True)), np.zeros(len(p)))
    return linear(x, intercept, weight) + sum(p[f] * pooled[f] for f in range(len(p)))


def predict(model, X):
    """Predict dense rows from the public fitted attributes of an estimator."""
    common = [np.asarray(a, np.float64) for a in (model.intercept_, model.coef_, model.factors_)]
    if not hasattr(model, "projection_"):
        return np.array([fm(x, *common) for x in X])
    network = (model.attention_coef_, model.attention_intercept_, model.attention_projection_, model.projection_)
    return np.array([afm(x, *common, *(np.asarray(a, np.float64) for a in network)) for x in X])
