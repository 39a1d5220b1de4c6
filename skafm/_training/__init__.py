"""The torch side of training, which knows no model and no scikit-learn.

- ``losses``: a new loss is a function there.
- ``optimizers``: a new optimizer is a class there.
- ``loop``: the only training loop and the only prediction loop.
- ``fixed_steps``: the steps of an epoch on CUDA, where no size in them depends on the data.
- ``padded_rows``: the rows of their batches, padded to a few lengths.
- ``cuda_graph``: work that is repeated, as a graph.
- ``trainer``: a training in progress, as the estimators use it.
- ``conversion``: from NumPy and SciPy to torch and back.
- ``batching``: the rows on the device, and batches of them.
- ``collectives``: communication between processes.
- ``errors``: what may be raised.
"""
