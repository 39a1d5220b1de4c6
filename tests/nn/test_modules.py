import numpy as np
import pytest
import reference
import torch

from skafm.nn import AFM, FM


def draw_fm(dropout=0.0, n_outputs=None):
    module = FM(9, 3, n_outputs, dropout=dropout, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return randomize(module)


def draw_afm(dropout=0.0, n_outputs=None):
    module = AFM(9, 3, 4, n_outputs, dropout=dropout, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return randomize(module)


def randomize(module):
    """Give every parameter a value that matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module


def as_reference(module):
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


both = pytest.mark.parametrize("draw", [draw_fm, draw_afm])


def test_fm_equals_loop(batch):
    X, csr = batch
    module = draw_fm()
    p = as_reference(module)
    expected = [reference.fm(x, p["linear.intercept"], p["linear.weight"], p["factors"]) for x in X]
    np.testing.assert_allclose(module(*csr).detach(), expected, rtol=1e-10)


def test_afm_equals_loop(batch):
    X, csr = batch
    module = draw_afm()
    p = as_reference(module)
    names = ["linear.intercept", "linear.weight", "factors", "attention_weight", "attention_bias"]
    values = [p[name] for name in [*names, "attention_projection", "projection"]]
    np.testing.assert_allclose(module(*csr).detach(), [reference.afm(x, *values) for x in X], rtol=1e-10)


@both
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_gradcheck(draw, n_outputs, batch):
    _, csr = batch
    module = draw(n_outputs=n_outputs)
    names = [name for name, _ in module.named_parameters()]

    def raw(*parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), csr)

    assert torch.autograd.gradcheck(raw, tuple(module.parameters()))


@both
@pytest.mark.parametrize("length", [0, 1])
def test_row_without_a_pair_is_linear(draw, length):
    module = draw()
    indices, values, offsets = torch.arange(length), torch.full((length,), 2.0).double(), torch.tensor([0, length])
    expected = module.linear(indices, values, offsets)
    assert torch.equal(module(indices, values, offsets), expected)
    assert torch.isfinite(expected).all()


@both
def test_order_of_entries_does_not_matter(draw):
    module = draw()
    indices, values = torch.tensor([2, 5, 7, 8]), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    offsets, turned = torch.tensor([0, 4]), torch.tensor([3, 0, 2, 1])
    expected = module(indices, values, offsets).detach()
    np.testing.assert_allclose(module(indices[turned], values[turned], offsets).detach(), expected, rtol=1e-12)


@both
@pytest.mark.parametrize(("n_outputs", "shift", "scale"), [(None, -3.0, 7.0), (2, [-3.0, 1.0], [7.0, 0.5])])
def test_rescaled_is_affine(draw, n_outputs, shift, scale, batch):
    _, csr = batch
    module, shift, scale = draw(n_outputs=n_outputs), torch.tensor(shift).double(), torch.tensor(scale).double()
    before = module(*csr).detach()
    module.load_state_dict(module.rescaled(shift, scale))
    np.testing.assert_allclose(module(*csr).detach(), shift + scale * before, rtol=1e-10)


@both
def test_each_output_is_a_model_over_shared_embeddings(draw, batch):
    X, csr = batch
    module = draw(n_outputs=3)
    raw = module(*csr).detach()
    p = as_reference(module)
    for output in range(3):
        linear = p["linear.intercept"][output], p["linear.weight"][:, output]
        if draw is draw_fm:  # each pair's product weighted by p
            expected = [reference.fm(x, *linear, p["factors"], p["projection"][output]) for x in X]
        else:
            network = [p[name] for name in ("attention_weight", "attention_bias", "attention_projection")]
            expected = [reference.afm(x, *linear, p["factors"], *network, p["projection"][output]) for x in X]
        np.testing.assert_allclose(raw[:, output], expected, rtol=1e-10, atol=1e-12)


@both
def test_dropout_acts_in_training_alone(draw, batch):
    _, csr = batch
    module, plain = draw(dropout=0.5), draw()
    assert torch.equal(module.eval()(*csr), plain(*csr))
    assert not torch.allclose(module.train()(*csr), plain(*csr))


@both
def test_dropout_has_the_mean_of_no_dropout(draw, batch):
    _, csr = batch
    module = draw(dropout=0.5)
    expected = module.eval()(*csr).detach()
    draws = torch.stack([module.train()(*csr).detach() for _ in range(4000)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-12).all()


def test_afm_starts_as_the_fm_of_its_factors(batch):
    _, (indices, values, offsets) = batch
    module = AFM(9, 3, 4, projection_start=10.0, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fm = FM(9, 3, dtype=torch.float64, generator=torch.Generator())
    fm.factors.data.copy_(module.factors.data)
    five = torch.nonzero(offsets.diff() == 5).flatten()  # rows of 10 pairs
    assert len(five)
    np.testing.assert_allclose(
        module(indices, values, offsets)[five].detach(), fm(indices, values, offsets)[five].detach(), rtol=1e-10
    )


@both
def test_same_seed_same_start(draw):
    make = FM if draw is draw_fm else lambda *sizes, **kw: AFM(*sizes, 4, **kw)
    first, second = (make(9, 3, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_start_has_the_published_spread():
    module = AFM(2000, 30, 50, generator=torch.Generator().manual_seed(0))
    assert abs(module.factors.std() / 0.01 - 1) < 0.02
    assert abs(module.attention_weight.std() / (2 / 80) ** 0.5 - 1) < 0.1
    assert not module.attention_projection.any()
