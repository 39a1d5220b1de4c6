"""
Online learning with partial_fit
================================

Clicks arrive in chunks of 1,000 rows and are discarded after training. ``partial_fit`` updates the model with each
chunk and keeps the state of the optimizer. Each chunk is predicted before the model is updated with it (prequential
evaluation), so the loss is always that of unseen rows, without a validation set.

``examples/stream_svmlight.py`` does the same with a file larger than memory.
"""

# %%
# Each row is a user, the group of the user and an article. Their names are hashed to columns, so that they need not be
# known in advance. The probability of a click depends on the interaction of group and article.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

from skafm import FMClassifier

rng = np.random.default_rng(0)
preference = rng.normal(size=(10, 50))  # of each group for each article
hasher = FeatureHasher(2**16, input_type="string", alternate_sign=False, dtype=np.float32)


def clicks(n):
    """Return n hashed rows, whether each was clicked, and the true probability."""
    users, articles = rng.integers(0, 5_000, n), rng.integers(0, 50, n)
    truth = 1 / (1 + np.exp(1 - 2 * preference[users % 10, articles]))
    names = ([f"user={u}", f"group={u % 10}", f"article={a}"] for u, a in zip(users, articles, strict=True))
    return hasher.transform(names), (rng.random(n) < truth).astype(int), truth


# %%
# For comparison, a linear model is trained on the same stream. It converges early: more rows do not improve it, since
# it cannot represent the interaction.

models = {
    "SGDClassifier": SGDClassifier(loss="log_loss", learning_rate="adaptive", eta0=0.05, random_state=0),
    "FMClassifier": FMClassifier(n_factors=8, batch_size=100, random_state=0),
}
losses = {name: [] for name in ("true probabilities", *models)}
for chunk in range(120):
    X, y, truth = clicks(1000)
    losses["true probabilities"].append(log_loss(y, truth))
    for name, model in models.items():
        if chunk:
            losses[name].append(log_loss(y, model.predict_proba(X)))
        model.partial_fit(X, y, classes=[0, 1])
for name, values in losses.items():
    print(f"{name}: log loss {np.mean(values[-20:]):.3f} over the last 20,000 rows")

# %%
# Thin lines: each chunk. Thick lines: moving average over ten chunks.

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
colors = {"true probabilities": "#000000", "SGDClassifier": "#999999", "FMClassifier": "#0072b2"}
for (name, values), style in zip(losses.items(), (":", "--", "-"), strict=True):
    rows = np.arange(121 - len(values), 121)
    axis.plot(rows, values, style, color=colors[name], alpha=0.25, linewidth=1)
    axis.plot(rows[9:], np.convolve(values, np.full(10, 0.1), "valid"), style, color=colors[name], label=name)
axis.set(xlabel="chunks of 1,000 rows", ylabel="log loss of the next chunk")
axis.legend(frameon=False, loc=(0.65, 0.6))
axis.spines[["top", "right"]].set_visible(False)
plt.show()
