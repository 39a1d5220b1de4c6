"""The models by plain loops over `itertools.combinations`, in float64: slow, the reference for everything fast."""

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


def hofm(x, intercept, weight, factors, projection=None):
    """Every set of 2, 3, ... features, factor by factor; factors are (n_features, orders, k)."""
    n_orders, k = len(factors[0]), len(factors[0][0])
    p = np.ones((n_orders, k)) if projection is None else np.reshape(projection, (n_orders, k))
    raw = linear(x, intercept, weight)
    for m in range(2, n_orders + 2):
        for chosen in combinations(entries(x), m):
            for f in range(k):
                raw += p[m - 2][f] * np.prod([factors[i][m - 2][f] * x_i for i, x_i in chosen])
    return raw


def ffm(x, intercept, weight, factors, fields, projection=None):
    """Factors are (n_features, n_fields, k)."""
    p = np.ones(len(factors[0][0])) if projection is None else projection
    raw = linear(x, intercept, weight)
    for (i, x_i), (j, x_j) in combinations(entries(x), 2):
        left, right = factors[i][fields[j]], factors[j][fields[i]]
        raw += sum(p[f] * left[f] * right[f] for f in range(len(p))) * x_i * x_j
    return raw


def fwfm(x, intercept, weight, factors, fields, field_weights, projection=None):
    """The weight of two fields is the mean of two numbers."""
    p = np.ones(len(factors[0])) if projection is None else projection
    raw = linear(x, intercept, weight)
    for (i, x_i), (j, x_j) in combinations(entries(x), 2):
        f, g = fields[i], fields[j]
        r = (field_weights[f][g] + field_weights[g][f]) / 2
        raw += r * sum(p[u] * factors[i][u] * factors[j][u] for u in range(len(p))) * x_i * x_j
    return raw


def embed(x, factors, fields):
    """The embeddings of a row's fields, side by side."""
    embedded = np.zeros((max(fields) + 1, len(factors[0])))
    for i, x_i in entries(x):
        embedded[fields[i]] += factors[i] * x_i
    return embedded.ravel()


def dense(z, coef, intercept):
    return np.array([intercept[u] + sum(z[f] * coef[f][u] for f in range(len(z))) for u in range(len(intercept))])


def mlp(z, coefs, intercepts, norms=None):
    """Batch normalization has for each layer a tuple (scale, shift, mean, variance)."""
    for layer, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        z = dense(z, coef, intercept)
        if norms is not None:
            scale, shift, mean, variance = norms[layer]
            z = scale * (z - mean) / np.sqrt(variance + 1e-5) + shift
        z = np.maximum(z, 0)
    return z


def wide_deep(x, intercept, weight, factors, fields, coefs, intercepts, p):
    return linear(x, intercept, weight) + p @ mlp(embed(x, factors, fields), coefs, intercepts)


def deep_fm(x, intercept, weight, factors, fields, network, coefs, intercepts, norms, p):
    """With a network (W, b, h) the interactions are weighed by attention."""
    pooled, k = pool(x, factors, network), len(factors[0])
    deep = mlp(embed(x, factors, fields), coefs, intercepts, norms)
    return linear(x, intercept, weight) + p[:k] @ pooled + p[k:] @ deep


def deep_cross(x, intercept, factors, fields, units, p):
    """Each unit a tuple (coef in, scale, shift, mean, variance, coef out, intercept)."""
    z = embed(x, factors, fields)
    for coef_in, scale, shift, mean, variance, coef_out, bias in units:
        hidden = dense(z, coef_in, np.zeros(len(scale)))
        hidden = np.maximum(scale * (hidden - mean) / np.sqrt(variance + 1e-5) + shift, 0)
        z = np.maximum(z + dense(hidden, coef_out, bias), 0)
    return intercept + p @ z


def pool(x, factors, network=None):
    """The pooled vector of a row; with a network (W, b, h) the pairs are weighed by attention."""
    pooled = np.zeros(len(factors[0]))
    if network is not None:
        _, vectors, weights = attention(x, factors, *network)
        return sum((a * vector for a, vector in zip(weights, vectors, strict=True)), pooled)
    for (i, x_i), (j, x_j) in combinations(entries(x), 2):
        pooled += factors[i] * factors[j] * x_i * x_j
    return pooled


def nfm(x, intercept, weight, factors, network, coefs, intercepts, p):
    """With a network (W, b, h) the interactions are weighed by attention."""
    return linear(x, intercept, weight) + p @ mlp(pool(x, factors, network), coefs, intercepts)


def predict(model, X):
    """Predict dense rows, in float64, from the public fitted attributes of an FM or AFM of one output."""
    names = ["intercept_", "linear_coef_", "factors_"]
    if hasattr(model, "attention_coef_"):
        names += ["attention_coef_", "attention_intercept_", "attention_projection_", "projection_"]
    arguments = [as_double(getattr(model, name)) for name in names]
    return np.array([(afm if len(names) > 3 else fm)(x, *arguments) for x in X])


def rounding(model, X):
    """Bound what rounding does to the predictions of sparse rows by an FM or AFM: (n_samples,)."""
    rows, V = abs(X.toarray()).astype(float), abs(model.factors_).astype(float)
    p = abs(getattr(model, "projection_", np.ones(1))).max()
    products = (rows @ V) ** 2  # of each factor, no less than the pairs' sum
    size = abs(model.intercept_) + rows @ abs(model.linear_coef_) + p * products.sum(1) + 1e-30
    if hasattr(model, "attention_coef_"):  # what a logit loses, its exponential loses as a share
        hidden = products @ abs(model.attention_coef_).T + abs(model.attention_intercept_)
        size *= 1 + hidden @ abs(model.attention_projection_)
    return 1e3 * np.finfo(model.factors_.dtype).eps * size


def as_double(value):
    """Floating-point arrays in float64, everything else as it is."""
    if isinstance(value, list):
        return [as_double(each) for each in value]
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return np.asarray(value, np.float64) if kind == "f" else value
