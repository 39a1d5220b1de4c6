"""
Grid search over dropout and l2_attention
=========================================

With few rows and many interactions, an attentional factorization machine overfits. Three methods of regularization
prevent it: early stopping, ``dropout`` of the pooled interactions, and ``l2_attention``, the L2 penalty on the
attention network (lambda in the paper). ``GridSearchCV`` tunes them like the hyperparameters of any scikit-learn
estimator.
"""

# %%
# The data have 1,200 rows and six categorical features. Only two pairs of features have an effect.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skafm import AFMRegressor

rng = np.random.default_rng(0)
X = rng.integers(0, 10, size=(1200, 6))
effects = rng.normal(size=(2, 10, 10))
y = sum(effects[n][X[:, i], X[:, j]] for n, (i, j) in enumerate([(0, 1), (2, 3)]))
y += rng.normal(size=len(y))

# %%
# The grid has 12 settings, and the cross-validation three folds. A pipeline prefixes parameters with the step's name.

model = make_pipeline(OneHotEncoder(dtype=np.float32), AFMRegressor(early_stopping=False, tol=0.01, random_state=0))
grid = {
    "afmregressor__dropout": [0.0, 0.3, 0.6],
    "afmregressor__l2_attention": [0.0, 0.01, 0.1, 1.0],
}
search = GridSearchCV(model, grid, cv=3).fit(X, y)
print(f"best R² {search.best_score_:.3f}:", search.best_params_)

# %%
# The heat map shows the mean and the standard deviation of R² over the three test folds. Settings that differ by less
# than the standard deviation cannot be ranked. Here ``dropout`` matters and ``l2_attention`` does not improve on it;
# without either, the model is worse than predicting the mean of y. Other data sets differ: on Frappe some
# ``l2_attention`` is better than none (:doc:`/paper`).

results = pd.DataFrame(search.cv_results_).rename(columns=lambda name: name.removeprefix("param_afmregressor__"))
mean, std = (results.pivot_table(f"{name}_test_score", "dropout", "l2_attention") for name in ("mean", "std"))

figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
image = axis.imshow(mean, cmap="cividis", aspect="auto")
axis.set_xticks(range(len(mean.columns)), mean.columns)
axis.set_yticks(range(len(mean.index)), mean.index)
axis.set(xlabel="l2_attention (lambda)", ylabel="dropout")
for (row, column), score in np.ndenumerate(mean.to_numpy()):
    text = f"{score:.3f}\n± {std.iloc[row, column]:.3f}"
    color = "white" if image.norm(score) < 0.5 else "black"
    axis.text(column, row, text, ha="center", va="center", color=color)
figure.colorbar(image, ax=axis, label="mean R² on the test folds")
plt.show()
