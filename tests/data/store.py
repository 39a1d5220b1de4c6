"""Write the models that later versions must be able to read, and what they predict.

    python tests/data/store.py FOLDER

The files beside this script were made so by version 0.1.0. A test reads them from then on: they are not made again.
"""

import json
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import skops.io
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMClassifier, AFMRegressor, FMClassifier, FMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)


def main(folder):
    """Fit, write and predict."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5)) * rng.integers(0, 2, size=(40, 5))
    y = X[:, 0] * X[:, 1] + X[:, 2]
    names = np.array(["low", "middle", "high"])[np.digitize(y, [-0.5, 0.5])]
    expected = {"X": X[:8].tolist()}
    for Estimator in (FMRegressor, FMClassifier, AFMRegressor, AFMClassifier):
        own = {"attention_size": 2} if Estimator in {AFMRegressor, AFMClassifier} else {}
        model = Estimator(2, learning_rate=0.2, max_iter=20, random_state=0, **own)
        model.fit(X, names if hasattr(model, "predict_proba") else y)
        options = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 9}
        skops.io.dump(model, folder / f"{Estimator.__name__}.skops", **options)
        expected[Estimator.__name__] = getattr(model, "predict_proba", model.predict)(X[:8]).tolist()
    (folder / "predictions.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
