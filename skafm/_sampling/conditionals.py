"""Draws of the parameters theta_i = (v_i, w_i) of features from their distribution given all others.

The residual of row r, as a function of the change of theta_i, is ``e_r - h_r' change`` with

``h_r = x_r (T_r - x_r v_i, 1)``,  ``T_r = sum_j v_j x_rj``

so that with the prior N(mean, diag(1 / precision)) theta_i is normal, with precision P and mean ``P^-1 q``,

``P = alpha sum_r s_r h_r h_r' + diag(precision)``,  ``q = alpha sum_r s_r h_r (e_r + h_r' theta_i) + precision * mean``

where alpha is the precision of the noise and s_r the weight of row r.

Letters in shapes: F features, c rows of a feature, d = k + 1 parameters of a feature.
"""

import torch
from torch import Tensor

from skafm._sampling.hyperpriors import draw_normal


def residual_slopes(state: Tensor, theta: Tensor, x: Tensor | None) -> Tensor:
    """Return ``(h_r, e_r)`` (F, c, d + 1).

    Parameters
    ----------
    state : Tensor of shape (F, c, d + 1)
        ``(T_r, 1, e_r)``; zeros in place of missing rows.
    theta : Tensor of shape (F, d)
    x : Tensor of shape (F, c)
        Values; None if all are 1.
    """
    k = theta.shape[1] - 1
    h = state.clone()
    if x is None:
        h[..., :k].addcmul_(theta[:, None, :k], state[..., k : k + 1], value=-1)
        return h
    x = x.unsqueeze(2)  # (F, c, 1)
    h[..., :k].addcmul_(theta[:, None, :k], x, value=-1)
    h[..., :-1] *= x
    return h


def gram_of(state: Tensor, theta: Tensor, x: Tensor | None, weight: Tensor | None) -> Tensor:
    """Return ``sum_r s_r (h_r, e_r) (h_r, e_r)'`` (F, d + 1, d + 1).

    With x = 1 that is ``A (sum_r s_r t_r t_r') A'`` of the states t, where A subtracts v times the column of ones.

    Parameters
    ----------
    state, theta, x
        As for :func:`residual_slopes`.
    weight : Tensor of shape (F, c)
        Sample weights s; None if all are 1.
    """
    rows = state if x is None else residual_slopes(state, theta, x)
    gram = (rows if weight is None else rows * weight.unsqueeze(2)).mT @ rows
    if x is None:
        k = theta.shape[1] - 1
        v = theta[:, :k].unsqueeze(2)  # (F, k, 1)
        gram[:, :k] -= v * gram[:, k : k + 1]
        gram[:, :, :k] -= gram[:, :, k : k + 1] * v.mT
    return gram


def update_state(state: Tensor, theta: Tensor, change: Tensor, x: Tensor | None) -> None:
    """Set the rows' state in place after a change of theta.

    Parameters
    ----------
    state : Tensor of shape (F, c, d + 1)
        ``(T_r, 1, e_r)``; what is in place of missing rows becomes anything.
    theta : Tensor of shape (F, d)
        Before the change.
    change : Tensor of shape (F, d)
    x : Tensor of shape (F, c)
        Values; None if all are 1.
    """
    k = theta.shape[1] - 1
    slope = state[..., :-1] @ change.unsqueeze(2)  # (F, c, 1)
    own = (theta[:, :k] * change[:, :k]).sum(1).view(-1, 1, 1)  # (F, 1, 1)
    if x is None:
        state[..., :k] += change[:, None, :k]
        state[..., -1:] += own - slope
        return
    x = x.unsqueeze(2)  # (F, c, 1)
    state[..., :k].addcmul_(x, change[:, None, :k])
    state[..., -1:].addcmul_(x, x * own - slope)


def draw_by_precision(
    gram: Tensor, offset: Tensor, precision: Tensor, alpha: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the change of theta with the Cholesky factor of P, for features with many rows.

    Parameters
    ----------
    gram : Tensor of shape (F, d + 1, d + 1)
        ``sum_r s_r (h_r, e_r) (h_r, e_r)'``.
    offset : Tensor of shape (F, d)
        Prior mean minus present theta.
    precision : Tensor of shape (F, d)
    alpha : Tensor of shape ()
    generator : torch.Generator

    Returns
    -------
    change : Tensor of shape (F, d)
    failed : Tensor of shape ()
        Whether rounding has made a P indefinite.
    """
    d = offset.shape[1]
    P = alpha * gram[:, :d, :d]  # (F, d, d)
    diagonal = P.diagonal(dim1=1, dim2=2)
    diagonal.add_(precision).mul_(1 + d * torch.finfo(P.dtype).eps)  # as much as rounding may have taken off
    q = alpha * gram[:, :d, d] + precision * offset  # (F, d), minus P theta
    L, info = torch.linalg.cholesky_ex(P)
    noise = draw_normal(q, generator)
    whitened = torch.linalg.solve_triangular(L, q.unsqueeze(2), upper=False) + noise.unsqueeze(2)  # (F, d, 1)
    return torch.linalg.solve_triangular(L.mT, whitened, upper=True).squeeze(2), info.any()


def draw_by_rows(
    h: Tensor,
    residual: Tensor,
    variance: Tensor,
    offset: Tensor,
    precision: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw the change of theta with a system as large as the rows, for features with few (Bhattacharya et al., 2016).

    A draw u of the prior is corrected by the residuals that it leaves, less a draw of the noise.

    Parameters
    ----------
    h : Tensor of shape (F, c, d)
    residual : Tensor of shape (F, c)
    variance : Tensor of shape (F, c)
        Variance ``1 / (alpha s_r)`` of the noise of each row.
    offset, precision, generator
        As for :func:`draw_by_precision`.

    Returns
    -------
    change, failed
        As of :func:`draw_by_precision`.
    """
    u = offset + draw_normal(offset, generator) * precision.rsqrt()  # (F, d)
    left = residual - (h @ u.unsqueeze(2)).squeeze(2)  # (F, c)
    left -= draw_normal(residual, generator) * variance.sqrt()
    scaled = h / precision.unsqueeze(1)  # (F, c, d)
    C = scaled @ h.mT  # (F, c, c)
    C.diagonal(dim1=1, dim2=2).add_(variance).mul_(1 + h.shape[2] * torch.finfo(h.dtype).eps)
    L, info = torch.linalg.cholesky_ex(C)
    solved = torch.cholesky_solve(left.unsqueeze(2), L)  # (F, c, 1)
    return u + (scaled.mT @ solved).squeeze(2), info.any()
