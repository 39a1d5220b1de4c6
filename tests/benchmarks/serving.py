"""Size of a stored model, and milliseconds to predict one row and a thousand, as JSON lines.

    python tests/benchmarks/serving.py [--data FOLDER]

Rows as those of Frappe: ten one-hot entries of 5,382 columns, in float32; k = t = 64. They are drawn at random, or with
FOLDER those of frappe_train.npz, see README.md beside this file. The time does not depend on what a model has learnt.
"""

import argparse
import json
import pickle
import time
import warnings

import numpy as np
import onnxruntime
import skops.io
from quality import load
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skafm import AFMRegressor, FMRegressor
from skafm.onnx import to_onnx

warnings.simplefilter("ignore", ConvergenceWarning)

FEATURES, FIELDS = 5382, 10


def draw(n_rows=2000):
    """Return random rows of one entry in each of ten fields, and targets."""
    rng = np.random.default_rng(0)
    width = FEATURES // FIELDS
    columns = rng.integers(width, size=(n_rows, FIELDS)) + width * np.arange(FIELDS)
    ends = np.arange(0, n_rows * FIELDS + 1, FIELDS, dtype=np.int32)
    entries = np.ones(columns.size, np.float32), columns.ravel().astype(np.int32), ends
    return sparse.csr_array(entries, shape=(n_rows, FEATURES)), rng.normal(size=n_rows).astype(np.float32)


def milliseconds(call, inputs):
    """Return the median and the 99th percentile of the time of a call."""
    for each in inputs[:50]:
        call(each)
    found = []
    for each in inputs:
        start = time.perf_counter()
        call(each)
        found.append(1e3 * (time.perf_counter() - start))
    return [round(float(each), 3) for each in np.percentile(found, [50, 99])]


def arrays(rows):
    """Return the inputs of a graph."""
    return {"indices": rows.indices, "data": rows.data, "indptr": rows.indptr}


def main():
    """Measure both models, by predict and in onnxruntime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    folder = parser.parse_args().data
    X, y = load(folder, "frappe")[:2] if folder else draw()
    single, thousand = [X[row : row + 1] for row in range(1000)], [X[:1000]] * 100
    for model in (FMRegressor(64, max_iter=1), AFMRegressor(64, attention_size=64, max_iter=1)):
        model.set_params(random_state=0).fit(X, y)
        proto = to_onnx(model).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(proto, options)
        sizes = {"pickle": len(pickle.dumps(model)), "skops": len(skops.io.dumps(model)), "onnx": len(proto)}
        line = {"model": type(model).__name__} | {f"{name}_kB": round(size / 1000) for name, size in sizes.items()}
        for name, inputs in {"row": single, "1000_rows": thousand}.items():
            line[f"{name}_ms"] = milliseconds(model.predict, inputs)
            line[f"{name}_onnx_ms"] = milliseconds(
                lambda given: session.run(None, given),  # noqa: B023 called here
                [arrays(rows) for rows in inputs],
            )
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
