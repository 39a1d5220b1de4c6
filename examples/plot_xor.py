r"""
XOR: what a linear model cannot represent
=========================================

There are eight groups of readers and eight topics. Half of the groups like one half of the topics and dislike the
other; for the other groups it is the opposite. Each group likes as many topics as it dislikes, and each topic is liked
by as many groups as dislike it, so neither feature is informative alone. This is the exclusive or (XOR), which a linear
model cannot represent.

A factorization machine learns an embedding for each group and each topic, and predicts from their inner product
:math:`\langle v_{group}, v_{topic} \rangle`. It can therefore predict pairs that are not in the training set.
"""

# %%
# The data are noisy clicks. 12 of the 64 pairs of group and topic are held out of the training set.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMClassifier, FMClassifier

rng = np.random.default_rng(0)
taste, kind = rng.permutation([1, -1] * 4), rng.permutation([1, -1] * 4)
truth = np.where(np.outer(taste, kind) > 0, 0.9, 0.1)  # probability of a click, (group, topic)
unseen = np.zeros((8, 8), bool)
unseen.flat[rng.choice(64, size=12, replace=False)] = True

X = rng.integers(0, 8, size=(4000, 2))
y = rng.random(len(X)) < truth[X[:, 0], X[:, 1]]
train = ~unseen[X[:, 0], X[:, 1]]

# %%
# All three models have the same one-hot encoded features.

models = {
    "logistic regression": make_pipeline(OneHotEncoder(), LogisticRegression()),
    "FM": make_pipeline(OneHotEncoder(), FMClassifier(random_state=0)),
    "AFM": make_pipeline(OneHotEncoder(), AFMClassifier(random_state=0)),
}
pairs = np.argwhere(np.ones((8, 8)))  # (64, 2), all pairs of a group and a topic
probabilities = {"truth": truth}
for name, model in models.items():
    model.fit(X[train], y[train])
    probabilities[name] = model.predict_proba(pairs)[:, 1].reshape(8, 8)
    correct = (probabilities[name] > 0.5) == (truth > 0.5)
    print(f"{name}: accuracy {correct[~unseen].mean():.0%} on seen pairs, {correct[unseen].mean():.0%} on unseen pairs")

# %%
# Crosses mark the unseen pairs. Each row has a single pair of features, so attention has no effect and the AFM is only
# a slower FM. Logistic regression only reflects the held-out pairs, which leave the training set unbalanced for some
# groups and topics.

figure, axes = plt.subplots(2, 2, figsize=(7, 6.4), layout="constrained", sharex=True, sharey=True)
for axis, (name, probability) in zip(axes.flat, probabilities.items(), strict=True):
    image = axis.imshow(probability, cmap="cividis", vmin=0, vmax=1)
    for group, topic in np.argwhere(unseen):
        axis.plot(topic, group, "x", color="white" if probability[group, topic] < 0.5 else "black")
    axis.set(title=name, xticks=range(8), yticks=range(8))
for axis in axes[1]:
    axis.set_xlabel("topic")
for axis in axes[:, 0]:
    axis.set_ylabel("group of readers")
figure.colorbar(image, ax=axes, label="probability of a click", shrink=0.8)
plt.show()
