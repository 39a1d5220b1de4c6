"""Learning from what was observed alone: a ranker or classifier, and the negative rows that it needs."""

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from skafm._estimators.callbacks import FitTask
from skafm._estimators.fields import canonical_rows
from skafm._estimators.item_rows import distinct_rows, keep_columns, rank_items
from skafm._estimators.parameters import IMPLICIT
from skafm._estimators.sklearn_compat import check_sample_weight, fit_context, with_callbacks
from skafm._estimators.sparse_checks import check_sparse
from skafm._estimators.validation import MIN_SAMPLES


def _has(method):
    """Return a check that the estimator has a method."""
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), method)


class ImplicitFeedback(MetaEstimatorMixin, BaseEstimator):
    """Fits a ranker or classifier to rows that are all positive, such as clicks, purchases or plays.

    Logs contain positive rows only. Each observed row is therefore followed by negative rows, in which all columns of
    the item are replaced by those of another item. Negative rows are sampled again for each epoch.

    - A ranker learns that the observed item ranks above those drawn for it. ``FMRanker(loss="pairwise")`` is Bayesian
      personalized ranking (Rendle et al., 2009); ``loss="softmax"`` is sampled softmax, whose weights of
      ``1 / probability`` correct for how often items are drawn (Bengio and Senécal, 2008; Yi et al., 2019). With
      ``n_negatives="all"`` it is the softmax over all items, without sampling: for catalogs of up to some ten
      thousand items the most accurate choice.
    - A classifier learns to tell them apart, by log loss, as Xiao et al. (2017) do. Its probabilities are those among
      one observed and ``n_negatives`` drawn rows.

    Parameters
    ----------
    estimator : FMRanker, AFMRanker or a classifier of skafm
        What is fitted. If its ``early_stopping`` is "auto", with 100 rows or more, or True, its
        ``validation_fraction`` of the observed rows is held out, each with negative rows that stay the same or, with
        ``n_negatives="all"``, ranked among all items by the ranker's ``metric``.
    item_columns : slice or array-like of int or bool
        The columns of X that describe the item: its one-hot id, and its features if X has any. The items are the
        distinct rows of these columns in X.
    n_negatives : int or "all", default=4
        Negative rows for each observed one in each epoch; at least 1. With "all" nothing is drawn: each observed item
        competes with all others, whose scores are one matrix product. This is for ``FMRanker(loss="softmax")``, more
        accurate than negative rows and, up to a few thousand items, as fast. Batches are such that the scores of their
        rows with all items fit scikit-learn's ``working_memory``.
    popularity : float, default=0.0
        Exponent a: an item is drawn with a probability proportional to ``n_i^a``, where n_i is the number of rows that
        have it. 0 is uniform; 0.75 that of word2vec; 1 by popularity. At least 0. Where nothing is drawn it has no
        meaning.
    exclude_known : bool, default=True
        Whether not to draw items that were observed with the same query (or with the same other columns, without
        ``qid``).
    k : int, default=10
        Number of items that count in ``score``; at least 1.
    random_state : int, RandomState instance or None, default=None
        Random generator of the negative rows and of the held-out ones. The estimator has its own.

    Attributes
    ----------
    estimator_ : object
        The fitted estimator, with all of its methods.
    items_ : CSR array of shape (n_items, n_features)
        The items: rows of X with the columns of the item alone.
    item_counts_ : ndarray of shape (n_items,)
        Number of rows of each.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of features seen during ``fit``. Defined only if X has feature names that are all strings.

    See Also
    --------
    skafm.datasets.sample_negatives : Draws negative rows of a table once.

    References
    ----------
    S. Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.

    Y. Bengio and J.-S. Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model", IEEE Transactions on Neural Networks 19(4), 2008.

    X. Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.

    J. Xiao et al., "Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
    Networks", IJCAI 2017.

    Examples
    --------
    Users of five kinds, who play the films of their kind:

    >>> import numpy as np
    >>> from skafm import FMRanker, ImplicitFeedback
    >>> rng = np.random.default_rng(0)
    >>> user = rng.integers(0, 50, 2000)
    >>> film = 5 * rng.integers(0, 8, 2000) + user % 5
    >>> X = np.hstack([np.eye(40)[film], np.eye(50)[user]])
    >>> model = ImplicitFeedback(FMRanker(random_state=0), slice(0, 40), random_state=0).fit(X)
    >>> scores = model.predict(np.hstack([np.eye(40), np.tile(np.eye(50)[7], (40, 1))]))
    >>> sorted({int(film) % 5 for film in scores.argsort()[-8:]})  # of user 7
    [2]
    """

    _parameter_constraints = IMPLICIT

    def __init__(
        self,
        estimator,
        item_columns,
        *,
        n_negatives=4,
        popularity=0.0,
        exclude_known=True,
        k=10,
        random_state=None,
    ):
        self.estimator = estimator
        self.item_columns = item_columns
        self.n_negatives = n_negatives
        self.popularity = popularity
        self.exclude_known = exclude_known
        self.k = k
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, sample_weight=None, *, qid=None, X_val=None, qid_val=None):  # noqa: ARG002
        """Fit the estimator to observed rows.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Observed rows, each with an item and its context, such as the user and the time of day.
        y : None
            Ignored: all rows are positive.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, such as numbers of plays; only their ratios matter. A negative row has that of the
            observed one.
        qid : array-like of shape (n_samples,), default=None
            Whose known items are not drawn: the user of each row, say. By default the other columns say who it is.
        X_val : {sparse matrix or array, array-like} of shape (n_val, n_features), default=None
            Observed rows for early stopping, such as the latest ones, instead of a random part of X. They are not
            trained on.
        qid_val : array-like of shape (n_val,), default=None
            Query of each row of the validation set; needed if there is ``qid``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is malformed, or if every item is known to a query.
        TypeError
            If the estimator is no ranker and no classifier of skafm, or not one for which all items can compete.
        """
        model = clone(self.estimator)
        self._check_estimator(model)
        X = self._validate(X, reset=True)
        weight = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if (qid_val is not None) != (qid is not None and X_val is not None):
            raise ValueError("qid_val must be given if both qid and X_val are, and not otherwise.")
        n_val = 0
        if X_val is not None:
            X_val = self._validate(X_val, reset=False).astype(X.dtype)
            n_val, X = X_val.shape[0], sparse.vstack([X, X_val], format="csr")
            weight = np.concatenate([weight, np.ones(n_val)])
        contexts, items = self._take_apart(X)
        group = self._number_groups(contexts, qid, qid_val, n_val)
        used = weight > 0
        contexts, items, group, weight = contexts[used], items[used], group[used], weight[used]
        first, item = distinct_rows(items)
        n = len(item) - n_val
        distinct, self.item_counts_ = items[first], np.bincount(item[:n], minlength=len(first))
        self._items = distinct.data, distinct.indices, distinct.indptr
        self._known = np.unique(group[:n] * len(first) + item[:n])
        self._check_items(group[:n])
        self.estimator_ = self._fit_estimator(model, contexts, item, group, weight, n_val)
        return self

    def _check_estimator(self, model):
        """Raise an error if the estimator is none that can be fitted to observed rows."""
        if not hasattr(model, "_pack_target"):
            raise TypeError(f"estimator must be a ranker or a classifier of skafm, got {model!r}.")
        if self.n_negatives == "all" and not (hasattr(model, "_sum_factors") and model._corrects_sampling()):
            raise TypeError(
                f"n_negatives='all' is for FMRanker(loss='softmax'), got {model!r}: its scores with all items are no "
                "matrix product. Use that estimator, or a number."
            )
        model._validate_params()

    @property
    def items_(self):
        """Items, CSR of shape (n_items, n_features); skops files have plain arrays only."""
        return sparse.csr_array(self._items, (len(self.item_counts_), self.n_features_in_))

    def _validate(self, X, *, reset):
        """Return rows as canonical CSR."""
        X = validate_data(self, check_sparse(X), accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset)
        return canonical_rows(X)

    def _take_apart(self, X):
        """Return the rows without their items, and the items without the rest, both CSR of shape X.shape."""
        chosen = np.zeros(X.shape[1], bool)
        try:
            chosen[self.item_columns] = True
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(f"item_columns must choose columns of X, which has {X.shape[1]}: {error}.") from error
        if not chosen.any() or chosen.all():
            raise ValueError(
                f"item_columns must choose some columns of X (n_features={X.shape[1]}), and leave others for who or "
                f"what the items are chosen by, got {self.item_columns!r}, which chooses {chosen.sum()}."
            )
        return keep_columns(X, ~chosen), keep_columns(X, chosen)

    def _number_groups(self, contexts, qid, qid_val, n_val):
        """Return the number of each row's query, from 0; without queries, rows of the same context have the same."""
        self._queries = None
        if qid is None:
            return distinct_rows(contexts)[1]
        queries = column_or_1d(qid)
        if qid_val is not None:
            check_consistent_length(np.empty(n_val), qid_val)
            queries = np.concatenate([queries, column_or_1d(qid_val)])
        check_consistent_length(np.empty(contexts.shape[0]), queries)
        self._queries, number = np.unique(queries, return_inverse=True)
        return number

    def _check_items(self, group):
        """Raise a ValueError if a query has no items to draw."""
        n_items = len(self.item_counts_)
        known = np.bincount(self._known // n_items) if self.exclude_known else np.ones(1, np.int64)
        if known.max() >= n_items:
            raise ValueError(
                f"There is no item to draw for {np.sum(known >= n_items)} of {len(np.unique(group))} queries: they "
                f"were observed with all {n_items} items (n_samples={len(group)}). Leave out their rows, pass another "
                "qid, or set exclude_known=False."
            )

    def _fit_estimator(self, model, contexts, item, group, weight, n_val):
        """Fit the model to observed rows, of which the last ``n_val`` are the validation set, and to other items."""
        random = check_random_state(self.random_state)
        stops = model.early_stopping
        parts = [np.arange(len(item) - n_val), np.arange(len(item) - n_val, len(item))]
        if n_val:
            model.set_params(early_stopping=True)
        elif stops is True or (stops == "auto" and len(item) >= MIN_SAMPLES):
            parts = train_test_split(parts[0], test_size=model.validation_fraction, random_state=random)
        else:
            parts = parts[:1]
            model.set_params(early_stopping=False)
        pair = self._compete if self.n_negatives == "all" else self._sample
        prepared = []
        # Rows that are held out must not be known: else nothing would say that they are not positive.
        for part, observed in zip(parts, (parts[0], slice(None)), strict=False):
            known = self._known_to(group[observed], item[observed])
            rows = contexts[part], item[part], group[part]
            prepared.append(pair(model, *rows, weight[part], known, random, trained=part is parts[0]))
        (given, attach), (given_val, attach_val) = (*prepared, ((None, None, None), None))[:2]
        task = FitTask(model, given[0], None, model.max_iter)
        options = {"attach": (attach, attach_val), "learn_held_out": not n_val}
        with_callbacks(type(model)._fit)(model, task, given, given_val, **options)
        if stops is not model.early_stopping:
            model.set_params(early_stopping=stops)
        return model

    def _known_to(self, group, item):
        """Return the items that are not drawn, or None."""
        from skafm._training.negative_sampling import KnownItems

        return KnownItems(group, item, len(self.item_counts_)) if self.exclude_known else None

    def _sample(self, model, contexts, item, group, weight, known, random, *, trained):
        """Return what a model's ``_fit`` is given of observed rows that draw others, and its ``attach``."""
        from skafm._training.negative_sampling import ImplicitRows, NegativeSampler

        generator = np.random.default_rng(random.randint(np.iinfo(np.int32).max))
        sampler = NegativeSampler(np.maximum(self.item_counts_, 1.0) ** self.popularity, known, generator)
        rows = (contexts, self.items_, item, group, self.n_negatives, sampler)
        drawn = ImplicitRows(*rows, correct=model._corrects_sampling())
        query = np.repeat(np.arange(len(weight)), 1 + self.n_negatives)
        y = np.tile([1] + [0] * self.n_negatives, len(weight))
        drawn_item = drawn.draw()
        given = drawn.matrix(drawn_item), model._pack_target(y, query), weight[query]
        return given, lambda dataset: drawn.weigh(dataset, drawn_item)._replace(renew=drawn.renew if trained else None)

    def _compete(self, model, contexts, item, group, weight, known, random, *, trained):  # noqa: ARG002
        """Return the same of observed rows whose items compete with all others."""
        from skafm._training.catalog import CompetingItems

        all_items = CompetingItems(contexts, self.items_, item, group, known)
        number = np.arange(len(weight))  # as grades: a single query has all rows
        return (all_items.matrix(), model._pack_target(number, np.zeros(len(number))), weight), all_items.attach

    @available_if(_has("predict"))
    def predict(self, X):
        """Return the estimator's scores or classes.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows with an item and its context.

        Returns
        -------
        ndarray of shape (n_samples,)
            What the estimator's ``predict`` returns.
        """
        return self._call("predict", X)

    @available_if(_has("decision_function"))
    def decision_function(self, X):
        """Return a classifier's raw scores.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows with an item and its context.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-odds of having been observed rather than drawn.
        """
        return self._call("decision_function", X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X):
        """Return a classifier's probabilities.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Rows with an item and its context.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Probabilities of having been drawn and of having been observed, among ``1 + n_negatives`` rows.
        """
        return self._call("predict_proba", X)

    def _call(self, method, X):
        check_is_fitted(self)
        return getattr(self.estimator_, method)(self._validate(X, reset=False))

    def score(self, X, y=None, sample_weight=None, *, qid=None):  # noqa: ARG002
        """Return how high observed items rank among all items: the mean NDCG at ``k`` over the rows.

        The item of each row is ranked among all of ``items_`` in the row's context, but for those that ``fit`` has seen
        with the same query. A row counts ``1 / log2(1 + rank)`` up to rank ``k``, and 0 beyond; ties never help.

        Parameters
        ----------
        X : {sparse matrix or array, array-like} of shape (n_samples, n_features)
            Observed rows that were not trained on.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        qid : array-like of shape (n_samples,), default=None
            Query of each row, if ``fit`` was given queries; without, no item is left out.

        Returns
        -------
        float
            Between 0 and 1.
        """
        check_is_fitted(self)
        contexts, items = self._take_apart(self._validate(X, reset=False))
        weight = check_sample_weight(sample_weight, contexts, dtype=np.float64, ensure_non_negative=True)
        together = sparse.vstack([self.items_, items], format="csr")
        first, number = distinct_rows(together)
        catalog, places = together[np.sort(first)], np.argsort(np.argsort(first))  # known items keep their numbers
        method = "decision_function" if hasattr(self.estimator_, "decision_function") else "predict"
        rank = rank_items(
            getattr(self.estimator_, method),
            contexts,
            catalog,
            places[number[len(self.item_counts_) :]],
            self._known_items(qid, contexts.shape[0], catalog.shape[0]),
        )
        return float(np.average(np.where(rank <= self.k, 1 / np.log2(1 + rank), 0.0), weights=weight))

    def _known_items(self, qid, n, n_items):
        """Return which items each row's query was observed with in ``fit``, CSR of shape (n, n_items)."""
        if qid is None or self._queries is None or not self.exclude_known:
            return sparse.csr_array((n, n_items), dtype=bool)
        queries = column_or_1d(qid)
        check_consistent_length(np.empty(n), queries)
        number = np.searchsorted(self._queries, queries).clip(max=len(self._queries) - 1)
        query, item = np.divmod(self._known, len(self.item_counts_))
        shape = len(self._queries) + 1, n_items  # the last query is for those that are new
        known = sparse.csr_array((np.ones(len(item), bool), (query, item)), shape)
        return known[np.where(self._queries[number] == queries, number, -1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
