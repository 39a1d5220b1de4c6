"""The terms of the field-weighted machine, whose matrix of weights need not be symmetric."""

import torch

from skafm.nn import FwFM


def test_pair_terms_sum_to_the_raw_score(batch):
    module, generator = FwFM([0, 0, 1, 2, 1, 2, 0, 3, 3], 3, dtype=torch.float64), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in ("factors", "field_weights"):
            module.get_parameter(name).normal_(generator=generator)
    terms = module.pair_terms(*batch[1])
    raw = module.linear(*batch[1]).detach().index_add(0, terms.rows, terms.interaction)
    torch.testing.assert_close(module(*batch[1]).detach(), raw, rtol=1e-10, atol=1e-12)
