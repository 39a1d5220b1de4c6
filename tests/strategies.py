"""What hypothesis draws: valid sparse rows, and corrupt ones."""

import numpy as np
from hypothesis import strategies as st
from scipy import sparse


@st.composite
def csr(draw, dtypes=(np.float32, np.float64), largest=30, n_features=None):
    """Rows of any entries in any order, duplicates and explicit zeros among them, with indices of either type."""
    n_features = n_features or draw(st.integers(1, 6))
    values = st.floats(-largest, largest, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0])
    row = st.lists(st.tuples(st.integers(0, n_features - 1), values), max_size=n_features + 2)
    rows = draw(st.lists(row, min_size=2, max_size=6))
    entries = [entry for each in rows for entry in each]
    index = draw(st.sampled_from([np.int32, np.int64]))
    indptr = np.cumsum([0, *map(len, rows)]).astype(index)
    indices = np.array([column for column, _ in entries], index)
    data = np.array([value for _, value in entries], draw(st.sampled_from(dtypes)))
    result = sparse.csr_array((data, indices, indptr), shape=(len(rows), n_features))
    result.indices, result.indptr = indices, indptr  # scipy would choose the type
    return result


@st.composite
def corrupted(draw, n_features=None):
    """Rows, one array of which was shortened, lengthened, or changed in one place to any number."""
    X = draw(csr(n_features=n_features))
    name = draw(st.sampled_from(["indptr", "indices", "data"]))
    array = getattr(X, name).copy()
    anything = st.sampled_from([np.nan, np.inf, 1e30]) if name == "data" else st.integers(-(2**31), 2**31 - 1)
    match draw(st.sampled_from(["cut", "longer", "small", "any"])):
        case "cut":
            array = array[: draw(st.integers(0, len(array)))]
        case "longer":
            array = np.append(array, array[-1:])
        case "small" if len(array):
            array[draw(st.integers(0, len(array) - 1))] = draw(st.integers(-8, 8))
        case "any" if len(array):
            array[draw(st.integers(0, len(array) - 1))] = draw(anything)
    setattr(X, name, array)
    return X
