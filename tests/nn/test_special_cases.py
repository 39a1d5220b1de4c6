"""Models that equal a factorization machine for some sizes or parameters."""

import numpy as np
import torch

from skafm.nn import AFM, FFM, FM, HOFM, DeepFM, FwFM


def assert_equals_fm(model, csr):
    """Compare a model with the FM of its factors."""
    fm = FM(9, 3, dtype=torch.float64)
    with torch.no_grad():
        fm.factors.copy_(model.factors.normal_(generator=torch.Generator().manual_seed(0)).view(9, 3))
    torch.testing.assert_close(model(*csr), fm(*csr))


def test_hofm_of_order_two_is_the_fm(batch):
    assert_equals_fm(HOFM(9, 3, 2, dtype=torch.float64), batch[1])


def test_ffm_of_one_field_is_the_fm(batch):
    assert_equals_fm(FFM(np.zeros(9, int), 3, dtype=torch.float64), batch[1])


def test_initial_fwfm_is_the_fm(batch):
    assert_equals_fm(FwFM(np.arange(9) % 3, 3, dtype=torch.float64), batch[1])


def test_deep_fm_whose_perceptron_has_no_weight_is_the_fm(batch):
    model = DeepFM(np.arange(9) % 3, 3, (4,), dtype=torch.float64)
    model.projection.detach()[3:].zero_()
    assert_equals_fm(model, batch[1])


def test_initial_afm_is_the_fm_for_rows_of_as_many_pairs_as_the_initial_projection(batch):
    _, (indices, values, offsets) = batch
    module = AFM(9, 3, 4, initial_projection=10.0, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fm = FM(9, 3, dtype=torch.float64)
    fm.factors.data.copy_(module.factors.data)
    five = torch.nonzero(offsets.diff() == 5).flatten()  # rows of 10 pairs
    assert len(five)
    afm_scores, fm_scores = (each(indices, values, offsets)[five].detach() for each in (module, fm))
    np.testing.assert_allclose(afm_scores, fm_scores, rtol=1e-10)
