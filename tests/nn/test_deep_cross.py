from functools import partial

import numpy as np
import pytest
import reference
import torch

from skafm._training.batching import Batch, compact_features
from skafm.nn import AFM, FFM, FM, HOFM, NFM, DeepCross, WideDeep

FIELDS = [0, 0, 1, 2, 1, 2, 0, 3, 3]  # not side by side

MAKE = {
    "FM": partial(FM, 9, 3),
    "AFM": partial(AFM, 9, 3, 4),
    "HOFM": partial(HOFM, 9, 3, 4),
    "FFM": partial(FFM, FIELDS, 3),
    "WideDeep": partial(WideDeep, FIELDS, 3, (5, 4)),
    "DeepCross": partial(DeepCross, FIELDS, 3, (5, 4)),
    "NFM": partial(NFM, 9, 3, (5, 4), None),
    "deep AFM": partial(NFM, 9, 3, (5, 4), 4),
}
every = pytest.mark.parametrize("name", MAKE)
paired = pytest.mark.parametrize("name", ["FM", "AFM", "HOFM", "FFM"])  # without a hidden layer


def draw(name, dropout=0.0, n_outputs=None):
    """Return a model whose parameters all have a value that matters, to predict with."""
    module = MAKE[name](n_outputs, dropout=dropout, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each, parameter in module.named_parameters():
            if "variances" in each or "n_batches" in each:
                parameter.uniform_(0.5, 2.0, generator=generator)
            elif parameter.is_floating_point():
                parameter.normal_(generator=generator)
    return module.eval()


def expect(name, module, x, output=None):
    """Return the raw score of a dense row by loops, or one of several outputs."""
    p = {each: parameter.detach().numpy() for each, parameter in module.named_parameters()}
    layers = lambda stem: [p[each] for each in p if each.startswith(stem)]  # noqa: E731
    of = lambda each: None if each not in p else p[each] if output is None else p[each][output]  # noqa: E731
    head = (of("intercept"),)
    if "linear.weight" in p:
        head = of("linear.intercept"), p["linear.weight"] if output is None else p["linear.weight"][:, output]
    network = [p[each] for each in ("attention_weight", "attention_bias", "attention_projection") if each in p]
    mlp = (layers("mlp.coefs"), layers("mlp.intercepts"))
    parts = ("coefs_in", "scales", "shifts", "means", "variances", "coefs_out", "intercepts")
    units = list(zip(*(layers(f"units.{part}") for part in parts), strict=True))
    deep_network = [p[f"pooling.{each}"] for each in ("weight", "bias", "projection") if f"pooling.{each}" in p]
    factors, projection = p["factors"], of("projection")
    formula, arguments = {
        "FM": (reference.fm, ()),
        "AFM": (reference.afm, network),
        "HOFM": (reference.hofm, ()),
        "FFM": (reference.ffm, (FIELDS,)),
        "WideDeep": (reference.wide_deep, (FIELDS, *mlp)),
        "DeepCross": (reference.deep_cross, (FIELDS, units)),
        "NFM": (reference.nfm, (None, *mlp)),
        "deep AFM": (reference.nfm, (deep_network, *mlp)),
    }[name]
    return formula(x, *head, factors, *arguments, projection)


@every
def test_model_equals_loop(name, batch):
    X, csr = batch
    module = draw(name)
    np.testing.assert_allclose(module(*csr).detach(), [expect(name, module, x) for x in X], rtol=1e-10, atol=1e-12)


@every
def test_each_output_is_a_model_over_shared_embeddings(name, batch):
    X, csr = batch
    module = draw(name, n_outputs=3)
    raw = module(*csr).detach()
    for output in range(3):
        expected = [expect(name, module, x, output) for x in X]
        np.testing.assert_allclose(raw[:, output], expected, rtol=1e-10, atol=1e-12)


@every
@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize("training", [False, True])
def test_gradcheck(name, n_outputs, training, batch):
    _, csr = batch
    module = draw(name, n_outputs=n_outputs).train(training)
    trained = {each: parameter for each, parameter in module.named_parameters() if parameter.requires_grad}
    fixed = {each: parameter for each, parameter in module.named_parameters() if not parameter.requires_grad}
    features, local, columns = compact_features(Batch(*csr), 9)  # with the transposed batch, as in training
    assert len(features) == 9

    def raw(*parameters):
        given = {each: parameter.clone() for each, parameter in fixed.items()}
        state = dict(zip(trained, parameters, strict=True)) | given
        return torch.func.functional_call(module, state, (*local, columns))

    assert torch.autograd.gradcheck(raw, tuple(trained.values()))


@paired
@pytest.mark.parametrize("length", [0, 1])
def test_row_without_a_pair_is_linear(name, length):
    module = draw(name)
    indices, values, offsets = torch.arange(length), torch.full((length,), 2.0).double(), torch.tensor([0, length])
    expected = module.linear(indices, values, offsets)
    assert torch.equal(module(indices, values, offsets), expected)
    assert torch.isfinite(expected).all()


@every
def test_order_of_entries_does_not_matter(name):
    module = draw(name)
    indices, values = torch.tensor([2, 5, 7, 8]), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    offsets, turned = torch.tensor([0, 4]), torch.tensor([3, 0, 2, 1])
    expected = module(indices, values, offsets).detach()
    np.testing.assert_allclose(module(indices[turned], values[turned], offsets).detach(), expected, rtol=1e-12)


@every
@pytest.mark.parametrize(("n_outputs", "shift", "scale"), [(None, -3.0, 7.0), (2, [-3.0, 1.0], [7.0, 0.5])])
def test_rescaled_is_affine(name, n_outputs, shift, scale, batch):
    _, csr = batch
    module, shift, scale = draw(name, n_outputs=n_outputs), torch.tensor(shift).double(), torch.tensor(scale).double()
    before = module(*csr).detach()
    module.load_state_dict(module._rescaled_parameters(shift, scale))
    np.testing.assert_allclose(module(*csr).detach(), shift + scale * before, rtol=1e-10)


@every
def test_dropout_acts_in_training_alone(name, batch):
    _, csr = batch
    module, plain = draw(name, dropout=0.5), draw(name)
    assert torch.equal(module(*csr), plain(*csr))
    assert not torch.allclose(module.train()(*csr), plain.train()(*csr))


@paired
def test_dropout_has_the_mean_of_no_dropout(name, batch):
    _, csr = batch
    module = draw(name, dropout=0.5)
    expected = module.eval()(*csr).detach()
    draws = torch.stack([module.train()(*csr).detach() for _ in range(4000)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-12).all()


def test_afm_starts_as_the_fm_of_its_factors(batch):
    _, (indices, values, offsets) = batch
    module = AFM(9, 3, 4, initial_projection=10.0, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fm = FM(9, 3, dtype=torch.float64, generator=torch.Generator())
    fm.factors.data.copy_(module.factors.data)
    five = torch.nonzero(offsets.diff() == 5).flatten()  # rows of 10 pairs
    assert len(five)
    np.testing.assert_allclose(
        module(indices, values, offsets)[five].detach(), fm(indices, values, offsets)[five].detach(), rtol=1e-10
    )


@every
def test_same_seed_same_start(name):
    before = torch.get_rng_state()
    first, second = (MAKE[name](generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_start_has_the_published_spread():
    module = AFM(2000, 30, 50, generator=torch.Generator().manual_seed(0))
    assert abs(module.factors.std() / 0.01 - 1) < 0.02
    assert abs(module.attention_weight.std() / (2 / 80) ** 0.5 - 1) < 0.1
    assert not module.attention_projection.any()


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


def test_batch_norm_takes_the_mean_and_variance_of_the_batch(batch):
    _, csr = batch
    module = draw("DeepCross").train()
    weight = torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = module.units.coefs_in[0].detach().T @ reference_embeddings(module, csr)  # (5, 20)
    mean = (z * weight).sum(1) / weight.sum()
    variance = ((z - mean[:, None]) ** 2 * weight).sum(1) / weight.sum()
    before = module.units.means[0].clone(), module.units.variances[0].clone()
    module.units.n_batches.zero_()
    module(*csr, weight=weight)
    torch.testing.assert_close(module.units.means[0].detach(), mean)  # the first batch replaces the start
    torch.testing.assert_close(module.units.variances[0].detach(), variance)
    assert not torch.equal(module.units.means[0], before[0])
    for number in range(2, 12):
        module(*csr, weight=weight * number)  # only the ratios count
    torch.testing.assert_close(module.units.means[0].detach(), mean)
    assert float(module.units.n_batches.detach()) == 11


def reference_embeddings(module, csr):
    """The units' input, a column a row."""
    indices, values, offsets = csr
    dense = torch.zeros(len(offsets) - 1, 9, dtype=torch.float64)
    for row in range(len(dense)):
        here = slice(offsets[row], offsets[row + 1])
        dense[row, indices[here]] = values[here]
    embedded = [reference.embed(x, module.factors.detach().numpy(), FIELDS) for x in dense.numpy()]
    return torch.from_numpy(np.array(embedded)).T


def test_weights_of_rows_equal_repeated_rows_in_a_norm(batch):
    _, (indices, values, offsets) = batch
    module = draw("DeepCross").train()
    last = slice(offsets[-2], offsets[-1])
    twice = (
        torch.cat([indices, indices[last]]),
        torch.cat([values, values[last]]),
        torch.cat([offsets, offsets[-1:] + len(indices[last])]),
    )
    weight = torch.ones(20, dtype=torch.float64)
    weight[-1] = 2
    torch.testing.assert_close(module(indices, values, offsets, weight=weight), module(*twice)[:20])


def test_hofm_of_order_two_is_the_fm(batch):
    _, csr = batch
    hofm, fm = HOFM(9, 3, 2, dtype=torch.float64), FM(9, 3, dtype=torch.float64)
    with torch.no_grad():
        fm.factors.copy_(hofm.factors.normal_().squeeze(1))
    torch.testing.assert_close(hofm(*csr), fm(*csr))


def test_ffm_of_one_field_is_the_fm(batch):
    _, csr = batch
    ffm, fm = FFM(np.zeros(9, int), 3, dtype=torch.float64), FM(9, 3, dtype=torch.float64)
    with torch.no_grad():
        fm.factors.copy_(ffm.factors.normal_().squeeze(1))
    torch.testing.assert_close(ffm(*csr), fm(*csr))
