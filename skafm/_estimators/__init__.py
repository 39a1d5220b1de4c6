"""The scikit-learn side: one file for each family of estimators, and what they share.

torch is imported when a model is first fitted.

- ``base``: fit, partial_fit, predict, pickle.
- ``regression`` and ``classification``: what y is to the raw score.
- ``initialization``: the parameters that training begins with.
- ``early_stopping`` and ``scoring``: the epochs of a fit, their scores, and which is the last and the best.
- ``explain`` and ``fields``: for models of pairs and of fields.
- ``validation`` and ``sparse_checks``: the input; ``advice``: what to do about input that a model cannot learn from.
- ``parameters`` and ``docstrings``: what constructors, and docstrings, have in common.
- ``fitted_state``: the link between fitted attributes and torch parameters.
- ``callbacks`` and ``sklearn_compat``: what scikit-learn has in private, or only in some versions.
"""
