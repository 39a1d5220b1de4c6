r"""
What a linear model cannot see
==============================

Eight groups of readers, eight topics. Half the groups like half the topics and dislike the others; the other half have
it the other way round. Each group likes as much as it dislikes, and each topic is liked as much as disliked: taken
alone, neither says anything. This is the exclusive or, and a linear model can but guess.

A factorization machine learns a vector for each group and for each topic, and for the two together their product
:math:`\langle v_{group}, v_{topic} \rangle` decides. So it also knows about pairs that were never seen.
"""

# %%
# Clicks, with some noise. Twelve of the 64 pairs of group and topic are kept out of the training.

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
# Three models, one line each. All see the same one-hot columns.

models = {
    "logistic regression": make_pipeline(OneHotEncoder(), LogisticRegression()),
    "FM": make_pipeline(OneHotEncoder(), FMClassifier(random_state=0)),
    "AFM": make_pipeline(OneHotEncoder(), AFMClassifier(random_state=0)),
}
every = np.argwhere(np.ones((8, 8)))  # all pairs of a group and a topic
pictures = {"truth": truth}
for name, model in models.items():
    model.fit(X[train], y[train])
    pictures[name] = model.predict_proba(every)[:, 1].reshape(8, 8)
    right = (pictures[name] > 0.5) == (truth > 0.5)
    print(f"{name}: {right[~unseen].mean():.0%} of the pairs seen are right, {right[unseen].mean():.0%} of the others")

# %%
# A cross marks a pair that was never seen. A row here has one pair of features, to which attention has nothing to
# choose: the AFM is the slower FM. What logistic regression does see is that some groups and topics lost more pairs of
# one kind than of the other; where no pair is kept out there is not even that.

figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), layout="constrained", sharey=True)
for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
    image = axis.imshow(picture, cmap="cividis", vmin=0, vmax=1)
    for group, topic in np.argwhere(unseen):
        axis.plot(topic, group, "x", color="white" if picture[group, topic] < 0.5 else "black")
    axis.set(title=name, xlabel="topic", xticks=range(8), yticks=range(8))
axes[0].set_ylabel("group of readers")
figure.colorbar(image, ax=axes, label="probability of a click", shrink=0.8)
plt.show()
