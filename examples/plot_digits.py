"""
Long rows of numbers: pairs of pixels
=====================================

Factorization machines are at home in one-hot data, but a row may be any numbers, and long. Here it is a picture of a
handwritten three or eight: 64 pixels, half of them ink, five hundred pairs. An eight is a three whose left side is
closed, and which pixels have ink *together* is a fair question to ask of it.

Is the answer worth it? On these few digits the interactions gain nothing that five folds could tell from chance, with
attention or without: for the score alone, take logistic regression. What they add is a picture of what was looked at.
"""

# %%
# Pixels between 0 and 1. Five folds, the folds' mean and standard deviation.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate

from skafm import AFMClassifier, FMClassifier

X, y = load_digits(return_X_y=True)
chosen = np.isin(y, [3, 8])
X, y = X[chosen].astype(np.float32) / 16, y[chosen]
print(f"{len(X)} pictures, {np.mean((X > 0).sum(1)):.0f} pixels with ink")

models = {
    "logistic regression": LogisticRegression(),
    "FM": FMClassifier(n_factors=8, random_state=0),
    "AFM": AFMClassifier(n_factors=8, attention_size=8, random_state=0),
}
for name, model in models.items():
    scores = cross_validate(model, X, y, scoring=["accuracy", "neg_log_loss"])
    accuracy, loss = scores["test_accuracy"], -scores["test_neg_log_loss"]
    print(f"{name}: accuracy {accuracy.mean():.3f} ± {accuracy.std():.3f}, ", end="")
    print(f"log loss {loss.mean():.3f} ± {loss.std():.3f}")

# %%
# The pairs that speak
# --------------------
# Of one three and one eight, the forty pairs of pixels that add most to the raw score: blue speaks for an eight, orange
# for a three, and the wider the line the more. They are what the machine said of these two pictures, exactly; the
# linear terms of the pixels stand beside them and are not drawn.

model = models["FM"].fit(X, y)
pictures = [np.flatnonzero(y == digit)[0] for digit in (3, 8)]
explanation = model.explain(X[pictures])

figure, axes = plt.subplots(1, 2, figsize=(8, 4.3), layout="constrained")
for axis, number, row in zip(axes, pictures, range(2), strict=True):
    one = explanation[row]
    axis.imshow(X[number].reshape(8, 8), cmap="Greys", vmax=1.5)
    strongest = np.argsort(-np.abs(one.contribution))[:40]
    widths = np.abs(one.contribution[strongest]) / np.abs(explanation.contribution).max()
    for pair, width in zip(strongest, widths, strict=True):
        (top, left), (bottom, right) = (divmod(pixel[pair], 8) for pixel in (one.feature_i, one.feature_j))
        color = "#0072b2" if one.contribution[pair] > 0 else "#d55e00"
        axis.plot([left, right], [top, bottom], color=color, linewidth=4 * width, solid_capstyle="round")
    probability = model.predict_proba(X[[number]])[0, 1]
    axis.set(title=f"a {y[number]}: probability of an eight {probability:.2f}", xlabel="column", ylabel="row")
plt.show()
