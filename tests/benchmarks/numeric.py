"""Numbers as they are, binned, as splines and by TableEncoder: three-fold R2 of ridge, FM and AFM, as JSON lines.

python tests/benchmarks/numeric.py
"""

import json
import warnings

from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, SplineTransformer, StandardScaler

from skafm import AFMRegressor, FMRegressor
from skafm.preprocessing import TableEncoder

warnings.simplefilter("ignore")
DATA = {"friedman": make_friedman1(4000, noise=1.0, random_state=0), "diabetes": load_diabetes(return_X_y=True)}
COLUMNS = {
    "standard": StandardScaler(),
    "bins": KBinsDiscretizer(20, encode="onehot", quantile_method="averaged_inverted_cdf"),
    "splines": SplineTransformer(8, sparse_output=True),
    "TableEncoder": TableEncoder(),
    "times 1000": FunctionTransformer(lambda X: 1000 * X),
}
MODELS = {
    "Ridge": RidgeCV(),
    "FM": FMRegressor(early_stopping=True, random_state=0),
    "AFM": AFMRegressor(early_stopping=True, random_state=0),
}

for data, (X, y) in DATA.items():
    for columns, transformer in COLUMNS.items():
        for name, model in MODELS.items():
            r2 = cross_val_score(make_pipeline(transformer, model), X, y, cv=3).mean()
            print(json.dumps({"data": data, "columns": columns, "model": name, "r2": round(r2, 3)}), flush=True)
