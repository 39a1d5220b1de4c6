"""
Dense numeric features: interactions of pixels
==============================================

Factorization machines are designed for one-hot encoded data, but they also accept dense numeric features. Here a row is
an image of a handwritten three or eight with 64 pixels. About half of the pixels are non-zero, which makes 500 pairs
for each row. An eight is a three whose left side is closed, so the pixels that are dark *together* carry information.

On this small data set the interactions do not improve the scores by more than the noise of five folds, with or without
attention. If only the score matters, use logistic regression; interactions add an explanation of each prediction.
"""

# %%
# The pixels are scaled to [0, 1]. Five-fold cross-validation gives the mean and the standard deviation of each score.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate

from skafm import AFMClassifier, FMClassifier

X, y = load_digits(return_X_y=True)
chosen = np.isin(y, [3, 8])
X, y = X[chosen].astype(np.float32) / 16, y[chosen]
print(f"{len(X)} images, {np.mean((X > 0).sum(1)):.0f} non-zero pixels each")

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
# The strongest interactions
# --------------------------
# The plot shows the 40 pairs of pixels with the largest contribution to the raw score, for one three and one eight.
# Blue pairs increase the probability of an eight and orange pairs that of a three; the line width is proportional to
# the contribution. The contributions are exact terms of the two predictions. The linear terms of the pixels are not
# shown.

model = models["FM"].fit(X, y)
images = [np.flatnonzero(y == digit)[0] for digit in (3, 8)]
explanation = model.explain(X[images])

figure, axes = plt.subplots(1, 2, figsize=(8, 4.3), layout="constrained")
for axis, index, row in zip(axes, images, range(2), strict=True):
    terms = explanation[row]
    axis.imshow(X[index].reshape(8, 8), cmap="Greys", vmax=1.5)
    strongest = np.argsort(-np.abs(terms.contribution))[:40]
    widths = np.abs(terms.contribution[strongest]) / np.abs(explanation.contribution).max()
    for pair, width in zip(strongest, widths, strict=True):
        (top, left), (bottom, right) = (divmod(pixel[pair], 8) for pixel in (terms.feature_i, terms.feature_j))
        color = "#0072b2" if terms.contribution[pair] > 0 else "#d55e00"
        axis.plot([left, right], [top, bottom], color=color, linewidth=4 * width, solid_capstyle="round")
    probability = model.predict_proba(X[[index]])[0, 1]
    axis.set(title=f"a {y[index]}: probability of an eight {probability:.2f}", xlabel="column", ylabel="row")
plt.show()
