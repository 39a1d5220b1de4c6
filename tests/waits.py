"""What a CUDA device would have to wait for, seen on the CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Waits(TorchDispatchMode):
    """Records the operations whose result, or its size, the host has to wait for."""

    waiting = (
        *("_local_scalar_dense", "equal", "masked_select", "nonzero"),
        *("repeat_interleave", "unique_consecutive", "_unique2"),
    )

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name, kwargs = function.overloadpacket.__name__, kwargs or {}
        known = name == "repeat_interleave" and kwargs.get("output_size") is not None
        by_mask = name in {"index", "index_put_"} and any(i is not None and i.dtype == torch.bool for i in args[1])
        if by_mask or (name in self.waiting and not known):
            self.seen.append(name)
        return function(*args, **kwargs)
