"""The recommenders that are compared: three settings of each (one of skafm), and how they score all items for rows.

A fit takes a task, the parts to learn from, a setting and a seed, and returns a function from rows (B,) to scores
(B, n_items).
"""

from functools import partial

import numpy as np
from recommenders_tasks import VALIDATE, stack
from scipy import sparse

from skafm import FMRanker, ImplicitFeedback
from skafm.recommendation import context_vectors, item_vectors


def matrix(task, entity, parts):
    """Return how often each of an entity chose each item, float32 CSR."""
    used = np.isin(task.part, parts)
    counts = sparse.csr_matrix(
        (np.ones(used.sum(), np.float32), (task.entities[entity][used], task.item[used])), task.shape(entity)
    )
    counts.sum_duplicates()
    return counts


def popularity(task, parts, setting, seed):  # noqa: ARG001
    """Score items by how often they were chosen."""
    counts = np.bincount(task.item[np.isin(task.part, parts)], minlength=task.items.shape[0])
    return lambda rows: np.tile(counts.astype(float), (len(rows), 1))


def own_choices(entity, task, parts, setting, seed):  # noqa: ARG001
    """Score items by how often the same entity chose them, then by how often all did."""
    counts, total = matrix(task, entity, parts), popularity(task, parts, None, 0)([0])
    return lambda rows: counts[task.entities[entity][rows]].toarray() + 1e-6 * total


def skafm_all(task, parts, setting, seed):
    """FM by softmax over all items; as many epochs as are best on the validation part, if that is not trained on."""
    contexts, setting = task.contexts(parts), dict(setting)
    n_items = task.items.shape[1]
    X = stack([task.items[task.item], contexts])
    fit, held_out = np.isin(task.part, parts), task.part == VALIDATE
    group = task.entities[task.query]
    n_epochs = setting.pop("max_iter", None)
    model = FMRanker(loss="softmax", random_state=seed, **setting)
    given = {"X_val": X[held_out], "qid_val": group[held_out]}
    if n_epochs is None:
        model.set_params(n_iter_no_change=2)
    else:
        model.set_params(max_iter=n_epochs, early_stopping=False, tol=0)
        given = {}
    model = ImplicitFeedback(model, slice(0, n_items), n_negatives="all", random_state=seed)
    model = model.fit(X[fit], qid=group[fit], **given).estimator_
    skafm_all.n_epochs = model.best_iter_
    right = item_vectors(model, stack([task.items, sparse.csr_array((len(task.items.indptr) - 1, contexts.shape[1]))]))

    def score(rows):
        return context_vectors(model, stack([sparse.csr_array((len(rows), n_items)), contexts[rows]])) @ right.T

    return score


def skafm_ids(task, parts, setting, seed):
    """The same by the numbers of users and items alone."""
    return skafm_all(task.ids(), parts, setting, seed)


def implicit(make, entity, task, parts, setting, seed):
    """Matrix factorization of implicit."""
    model = make(**setting, num_threads=1, random_state=seed)
    model.fit(matrix(task, entity, parts), show_progress=False)
    left, right = model.user_factors, model.item_factors
    return lambda rows: left[task.entities[entity][rows]] @ right.T


def als(**setting):
    """Alternating least squares."""
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(**setting)


def bpr(**setting):
    """Bayesian personalized ranking."""
    from implicit.bpr import BayesianPersonalizedRanking

    return BayesianPersonalizedRanking(**setting)


def lightfm(task, parts, setting, seed):
    """LightFM by WARP: each context is a user with these features."""
    from lightfm import LightFM

    contexts, fit = sparse.csr_matrix(task.contexts(parts)), np.flatnonzero(np.isin(task.part, parts))
    ones = np.ones(len(fit), np.float32)
    chosen = sparse.coo_matrix((ones, (np.arange(len(fit)), task.item[fit])), (len(fit), task.items.shape[0]))
    items = sparse.csr_matrix(task.items)
    setting = dict(setting)
    epochs = setting.pop("epochs")
    model = LightFM(loss="warp", random_state=seed, **setting)
    model.fit(chosen, user_features=contexts[fit], item_features=items, epochs=epochs, num_threads=1)
    bias, right = model.get_item_representations(items)

    def score(rows):
        return model.get_user_representations(contexts[rows])[1] @ right.T + bias

    return score


def flexmf(entity, task, parts, setting, seed):
    """FlexMF of LensKit."""
    import pandas as pd
    from lenskit.data import from_interactions_df
    from lenskit.flexmf import FlexMFImplicitScorer
    from lenskit.training import TrainingOptions

    counts = matrix(task, entity, parts).tocoo()
    table = pd.DataFrame({"user_id": counts.row, "item_id": counts.col})
    data = from_interactions_df(table)
    model = FlexMFImplicitScorer(**setting)
    model.train(data, TrainingOptions(rng=seed))
    left = np.zeros((counts.shape[0], model.model.e_size), np.float32)
    left[model.users.ids()] = model.model.u_embed.weight.detach().numpy()
    right = np.zeros((counts.shape[1], model.model.e_size + 1), np.float32)
    right[:, -1] = -1e3
    right[model.items.ids(), :-1] = model.model.i_embed.weight.detach().numpy()
    bias = model.model.i_bias  # of a light graph convolution there is none
    right[model.items.ids(), -1] = 0 if bias is None else bias.weight.detach().numpy().ravel()
    return lambda rows: left[task.entities[entity][rows]] @ right[:, :-1].T + right[:, -1]


def rankfm(entity, task, parts, setting, seed):
    """RankFM of rankfmc by WARP."""
    from rankfmc import RankFM

    setting = dict(setting)
    epochs = setting.pop("epochs")
    np.random.seed(seed)  # noqa: NPY002 it has no generator of its own
    model = RankFM(loss="warp", **setting)
    counts = matrix(task, entity, parts).tocoo()
    model.fit(np.column_stack([counts.row, counts.col]), epochs=epochs)
    left = np.zeros((counts.shape[0], model.v_u.shape[1]), np.float32)
    left[model.user_id.to_numpy()] = model.v_u[model.user_idx]
    right = np.zeros((counts.shape[1], left.shape[1] + 1), np.float32)
    right[:, -1] = -1e3
    right[model.item_id.to_numpy(), :-1] = model.v_i[model.item_idx]
    right[model.item_id.to_numpy(), -1] = model.w_i[model.item_idx]
    return lambda rows: left[task.entities[entity][rows]] @ right[:, :-1].T + right[:, -1]


def xgboost(task, parts, setting, seed):
    """XGBRanker: counts of the item, in all and by each entity, beside the context's first columns, as numbers."""
    from xgboost import XGBRanker

    fit, rng = np.flatnonzero(np.isin(task.part, parts)), np.random.default_rng(seed)
    fit = rng.permutation(fit)[:30_000]
    total = np.bincount(task.item[np.isin(task.part, parts)], minlength=task.items.shape[0])
    counts = [matrix(task, name, parts) for name in task.entities]
    dense = sparse.csr_array(task.items)[:, task.items.shape[0] :].toarray()

    def features(rows, items, own):
        """Return (B, m) numbers of pairs; ``own`` is whether the choice itself is among what was counted."""
        seen = [
            np.asarray(c[e[rows], items]).ravel() - own for c, e in zip(counts, task.entities.values(), strict=True)
        ]
        sums = [np.asarray(c.sum(1)).ravel()[e[rows]] for c, e in zip(counts, task.entities.values(), strict=True)]
        return np.column_stack([total[items], *seen, *sums, task.table[rows], dense[items]]).astype(np.float32)

    n = 20
    negative = rng.choice(task.items.shape[0], (len(fit), n), p=total**0.5 / np.sum(total**0.5))
    items, rows = np.column_stack([task.item[fit], negative]).ravel(), np.repeat(fit, n + 1)
    own = items == task.item[rows]
    model = XGBRanker(objective="rank:ndcg", n_jobs=1, random_state=seed, **setting)
    model.fit(features(rows, items, own), own.astype(int), qid=np.repeat(np.arange(len(fit)), n + 1))

    def score(rows):
        n_items = task.items.shape[0]
        pairs = np.repeat(rows, n_items), np.tile(np.arange(n_items), len(rows))
        return model.predict(features(*pairs, 0)).reshape(len(rows), n_items)

    return score


FACTORS = [{"n_factors": 64}]
ALS = [{"factors": k, "regularization": l2} for k, l2 in ((32, 1.0), (64, 10.0), (128, 10.0), (256, 10.0), (256, 30.0))]
BPR = [{"factors": 64, "regularization": l2, "iterations": 100} for l2 in (0.003, 0.01, 0.03)]
WARP = [{"no_components": k, "epochs": 20} for k in (32, 64, 128)]
FLEXMF = [{"embedding_size": 64, "preset": preset} for preset in ("bpr", "warp", "lightgcn")]
RANKFM = [{"factors": 64, "alpha": a, "epochs": n} for a, n in ((0.01, 20), (0.01, 100), (0.1, 100))]
TREES = [{"max_depth": depth, "n_estimators": 100} for depth in (4, 6, 8)]


def models(task):
    """Return of each model its name, how it is fitted, and three settings to choose from."""
    found = {"popularity": (popularity, [{}])}
    for entity in task.factored:
        with_ = f", by {entity}" if len(task.factored) > 1 else ""
        found |= {
            f"own choices{with_}": (partial(own_choices, entity), [{}]),
            f"implicit ALS{with_}": (partial(implicit, als, entity), ALS),
            f"implicit BPR{with_}": (partial(implicit, bpr, entity), BPR),
            f"LensKit FlexMF{with_}": (partial(flexmf, entity), FLEXMF),
            f"RankFM{with_}": (partial(rankfm, entity), RANKFM),
        }
    found |= {"LightFM": (lightfm, WARP), "XGBRanker": (xgboost, TREES)}
    return found | {"skafm, ids": (skafm_ids, FACTORS), "skafm": (skafm_all, FACTORS)}
