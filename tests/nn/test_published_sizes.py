"""Numbers and initial distributions of parameters, as the papers give them."""

import numpy as np
import pytest
import torch

from skafm.nn import AFM, FM, HOFM, DeepCross, WideDeep


@pytest.mark.parametrize(
    ("module", "millions"),
    [
        (FM(5382, 256, device="meta"), 1.38),
        (AFM(5382, 256, 256, device="meta"), 1.45),
        (HOFM(5382, 256, device="meta"), 2.76),
        (WideDeep(np.arange(5382) % 10, 256, device="meta"), 4.66),
        (DeepCross(np.arange(5382) % 10, 256, device="meta"), 8.93),
        (HOFM(90445, 256, device="meta"), 46.40),
        (WideDeep(np.arange(90445) % 3, 256, device="meta"), 24.69),
        (DeepCross(np.arange(90445) % 3, 256, device="meta"), 25.42),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else str(value),
)
def test_default_structure_has_as_many_parameters_as_the_paper_counts(module, millions):
    count = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    assert round(count / 1e6, 2) == millions


def test_initial_afm_has_the_published_spread():
    module = AFM(2000, 30, 50, generator=torch.Generator().manual_seed(0))
    assert abs(module.factors.std() / 0.01 - 1) < 0.02
    assert abs(module.attention_weight.std() / (2 / 80) ** 0.5 - 1) < 0.1
    assert not module.attention_projection.any()
