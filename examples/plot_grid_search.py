"""
A grid search over dropout and lambda
=====================================

Few rows and many interactions: an attentional factorization machine learns the noise along with the signal, unless
something holds it back. Early stopping does, and two parameters: ``dropout``, on the pooled interactions of a row, and
``l2_attention``, the paper's lambda, on the attention network. ``GridSearchCV`` searches both, as it would those of any
estimator of scikit-learn.
"""

# %%
# Twelve hundred rows of six categorical features, of which two pairs matter.

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
# Twelve settings, three folds. The pipeline's parameters are named after its steps.

model = make_pipeline(OneHotEncoder(dtype=np.float32), AFMRegressor(early_stopping=False, tol=0.01, random_state=0))
grid = {
    "afmregressor__dropout": [0.0, 0.3, 0.6],
    "afmregressor__l2_attention": [0.0, 0.01, 0.1, 1.0],
}
search = GridSearchCV(model, grid, cv=3).fit(X, y)
print(f"best R2 {search.best_score_:.3f}:", search.best_params_)

# %%
# The heat map: R² on the folds held out, and its standard deviation over the three. Where two settings differ by less
# than that, the grid has not told them apart: here dropout is what matters, and lambda adds nothing to it; with neither
# the model is worse than the mean of y. That is of these rows; on Frappe some lambda is better than none
# (:doc:`/paper`).

results = pd.DataFrame(search.cv_results_).rename(columns=lambda name: name.removeprefix("param_afmregressor__"))
mean, spread = (results.pivot_table(f"{each}_test_score", "dropout", "l2_attention") for each in ("mean", "std"))

figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
image = axis.imshow(mean, cmap="cividis", aspect="auto")
axis.set_xticks(range(len(mean.columns)), mean.columns)
axis.set_yticks(range(len(mean.index)), mean.index)
axis.set(xlabel="l2_attention (lambda)", ylabel="dropout")
for (row, column), score in np.ndenumerate(mean.to_numpy()):
    text = f"{score:.3f}\n± {spread.iloc[row, column]:.3f}"
    color = "white" if image.norm(score) < 0.5 else "black"
    axis.text(column, row, text, ha="center", va="center", color=color)
figure.colorbar(image, ax=axis, label="R² on the folds held out")
plt.show()
