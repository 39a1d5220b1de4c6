"""The scikit-learn side: one file for each family of estimators, and what they share.

torch is imported when a model is first fitted.

- ``base``: fit, partial_fit, predict, pickle.
- ``targets``: what y is to the raw score, for regression and classification.
- ``initialization``: the parameters that training begins with.
- ``early_stopping``: the epochs of a fit, and which of them is the last and the best.
- ``explain`` and ``fields``: for models of pairs and of fields.
- ``validation`` and ``sparse_checks``: the input; ``advice``: what to do about input that a model cannot learn from.
- ``parameters`` and ``docstrings``: what constructors, and docstrings, have in common.
- ``fitted_state``: the link between fitted attributes and torch parameters.
- ``callbacks`` and ``sklearn_compat``: what scikit-learn has in private, or only in some versions.
"""
