"""Gradient checkpointing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Checkpoint(torch.autograd.Function):
    """Save nothing of a function but its inputs, and call it again in the backward pass.

    As :func:`torch.utils.checkpoint.checkpoint` does; but that imports a second's worth of torch, and in torch 2.4 and
    2.6 leaves what it saved to the garbage collector.
    """

    @staticmethod
    def forward(ctx: Any, function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the function's results, a tuple of tensors."""
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Call the function again, and return the gradients of its inputs."""
        needs = ctx.needs_input_grad[1:]
        inputs = [each.detach().requires_grad_(need) for each, need in zip(ctx.saved_tensors, needs, strict=True)]
        with torch.enable_grad():
            results = ctx.function(*inputs)
        wanted = [each for each in inputs if each.requires_grad]
        found = iter(torch.autograd.grad(results, wanted, gradients))
        return None, *(next(found) if each.requires_grad else None for each in inputs)
