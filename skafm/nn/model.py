"""What all models are to the training loop."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """A model of ragged rows, ``raw(x) = w0 + ...``, that has its names for what all have.

    ``linear.intercept`` or ``intercept`` is w0, ``linear.weight`` w, ``factors`` the embeddings V and ``projection`` p,
    in which the rest of the raw score is linear.
    """

    per_feature: tuple[str, ...] = ("linear.weight", "factors")
    """Names of the parameters with one row for each feature."""
    weighs = False
    """Whether, to train, it wants the weights of the rows as ``weight``."""
    rows_at_once = 2**14
    """The most rows that are predicted at once."""

    @torch.no_grad()
    def rescaled(self, shift: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Return the parameters that make the raw score ``shift + scale * raw``, either a number or one an output."""
        state: dict[str, Tensor] = dict(self.named_parameters())
        for name, parameter in self.named_parameters():
            if name in {"linear.intercept", "intercept"}:
                state[name] = shift + scale * parameter
            elif name == "linear.weight":
                state[name] = parameter * scale
            elif name == "projection":  # (k,) or (C, k)
                state[name] = parameter * (scale.unsqueeze(-1) if parameter.ndim > 1 else scale)
        return state
