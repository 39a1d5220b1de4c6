"""
Recommendation from what was played
===================================

A log of plays says which films users chose, not which they dislike. ``ImplicitFeedback`` draws films that a user has
not played, anew for each epoch, or takes all of them, and a ranker or a classifier learns to tell them apart. The plays
are drawn, so that the best possible ranking is known.
"""

# %%
# Plays
# -----
# The probability that a user plays a film depends on the popularity of the film, and on how well its genre and its own
# characteristics match the user. The last tenth of the plays is the test set.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import OneHotEncoder

from skafm import FMClassifier, FMRanker, ImplicitFeedback

N_USERS, N_FILMS, N_GENRES = 300, 120, 8
rng = np.random.default_rng(0)
genre = rng.integers(0, N_GENRES, N_FILMS)
tastes = rng.normal(size=(N_USERS, 4))
characters = rng.normal(size=(N_GENRES, 4))[genre] + 0.5 * rng.normal(size=(N_FILMS, 4))
appeal = tastes @ characters.T + rng.normal(size=N_FILMS)  # (N_USERS, N_FILMS)
chance = np.exp(appeal) / np.exp(appeal).sum(1, keepdims=True)
plays = [(user, film) for user in range(N_USERS) for film in rng.choice(N_FILMS, 25, replace=False, p=chance[user])]
user, film = rng.permutation(plays).T
train, test = slice(0, -750), slice(-750, None)

# %%
# Each row has a film, its genre and a user. The first columns, of film and genre, are those of the item: a negative row
# has another film with the genre of that film. As queries the users say which films are known, so that they are neither
# drawn in training nor ranked in testing. With ``n_negatives="all"`` nothing is drawn: all films compete at once.

encoder = OneHotEncoder()
X = encoder.fit_transform(np.column_stack([film, genre[film], user]))
item_columns = slice(0, sum(map(len, encoder.categories_[:2])))
models = {
    "FM, softmax over all": (FMRanker(loss="softmax", random_state=0), "all"),
    "FM, sampled softmax": (FMRanker(loss="softmax", random_state=0), 4),
    "FM, pairs (BPR)": (FMRanker(random_state=0), 4),
    "FM, log loss": (FMClassifier(random_state=0), 4),
}
scores = {}
for name, (estimator, n_negatives) in models.items():
    model = ImplicitFeedback(estimator, item_columns, n_negatives=n_negatives, random_state=0)
    model.fit(X[train], qid=user[train])
    scores[name] = model.score(X[test], qid=user[test])
    print(f"{name:20} {scores[name]:.3f}", flush=True)

# %%
# The score is the NDCG of the first 10 films: the film of each test play is ranked among all films that the user has
# not played before. For comparison, films are ranked by popularity, and by the true probabilities of the plays.

known = np.zeros((N_USERS, N_FILMS), bool)
known[user[train], film[train]] = True


def ndcg(preference):
    """Return the NDCG@10 of the films that were played, by a preference (N_USERS, N_FILMS)."""
    ranked = np.where(known, -np.inf, preference)[user[test]]
    rank = 1 + (ranked > preference[user[test], film[test]][:, None]).sum(1)
    return np.mean((rank <= 10) / np.log2(1 + rank))


popularity = np.tile(np.bincount(film[train], minlength=N_FILMS), (N_USERS, 1))
for name, preference in {"popularity": popularity, "true probabilities": chance}.items():
    scores[name] = ndcg(preference)
    print(f"{name:20} {scores[name]:.3f}")

_, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
axes.barh(list(scores), list(scores.values()), color=["#0072b2"] * 4 + ["#999999"] * 2)
axes.invert_yaxis()
axes.set(xlabel="NDCG@10, all films ranked", ylabel="films ranked by")
plt.show()
