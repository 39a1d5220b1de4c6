r"""
Uncertainty: how well is a user known?
======================================

A Bayesian factorization machine returns, with each prediction, its standard deviation. Here are ratings by 300 users of
200 items. Some users have rated one item, others hundreds: users with fewer ratings have wider intervals, and the
intervals have the right coverage.
"""

# %%
# A rating is the sum of an effect of the user, an effect of the item, an interaction, and noise.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import BayesianFMRegressor

rng = np.random.default_rng(0)
n_ratings = np.geomspace(1, 150, 300).astype(int)  # of each user, for training
users = np.repeat(np.arange(300), n_ratings + 10)  # and ten more for testing
is_test = np.concatenate([np.arange(n + 10) >= n for n in n_ratings])
items = rng.integers(0, 200, len(users))
taste, kind = rng.normal(scale=0.7, size=(300, 3)), rng.normal(scale=0.7, size=(200, 3))
ratings = 3.5 + 0.5 * rng.normal(size=300)[users] + 0.5 * rng.normal(size=200)[items]
ratings += (taste[users] * kind[items]).sum(axis=1) + rng.normal(scale=0.7, size=len(users))
X = np.column_stack([users, items])

# %%
# The model has no penalty and no learning rate to tune.

encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
model = make_pipeline(encoder, BayesianFMRegressor(8, random_state=0)).fit(X[~is_test], ratings[~is_test])
mean, std = model.predict(X[is_test], return_std=True)
covered = np.abs(ratings[is_test] - mean) < 1.645 * std
print(f"{covered.mean():.0%} of the test ratings are in their 90 % intervals")

# %%
# Left: predicted standard deviation and actual errors. Right: share of the test ratings within the 90 % intervals. Each
# point is a group of 30 users with similar numbers of ratings.

groups = users[is_test] // 30
per_group = lambda values: np.array([values[groups == group].mean() for group in range(10)])  # noqa: E731
x = per_group(n_ratings[users[is_test]])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(x, np.sqrt(per_group((ratings[is_test] - mean) ** 2)), "o", color="#8b5a2b", label="error (RMSE)")
left.plot(x, np.sqrt(per_group(std**2)), color="#8b5a2b", label="predicted standard deviation")
left.axhline(0.7, color="grey", linestyle=":", label="noise")
left.set(xscale="log", xlabel="training ratings of the user", ylabel="rating")
left.legend(frameon=False)
right.plot(x, per_group(covered), "o-", color="#8b5a2b")
right.axhline(0.9, color="grey", linestyle=":")
right.set(xscale="log", ylim=(0.5, 1), xlabel="training ratings of the user", ylabel="share within 90 % intervals")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
