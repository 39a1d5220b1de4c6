"""Work that is done once more for its gradients, for :mod:`skafm.nn.pairs`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Again(torch.autograd.Function):
    """Store nothing of some work until its gradients are asked for, and then do it once more.

    What torch.utils.checkpoint does for any work; but that loads a second's worth of torch, and with torch 2.4 and 2.6
    leaves what it stored to the garbage collector.
    """

    @staticmethod
    def forward(ctx: Any, work: Callable[..., tuple[Tensor, ...]], *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return what the work makes of the parameters, a tuple of tensors."""
        ctx.work = work
        ctx.save_for_backward(*parameters)
        return work(*parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Do the work again, and return the gradients of its parameters."""
        needs = ctx.needs_input_grad[1:]
        parameters = [each.detach().requires_grad_(need) for each, need in zip(ctx.saved_tensors, needs, strict=True)]
        with torch.enable_grad():
            results = ctx.work(*parameters)
        wanted = [each for each in parameters if each.requires_grad]
        found = iter(torch.autograd.grad(results, wanted, gradients))
        return None, *(next(found) if each.requires_grad else None for each in parameters)
