"""Penalties of the moments of codes, which the two DIP-VAEs share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LAMBDA_D_HELP = "lambda d: the weight of the variances, lambda d factor times lambda od."


def covariance(codes: Float[Tensor, "images latents"]) -> Float[Tensor, "latents latents"]:
    """Return the covariance of codes, divided by the number of images n, in the precision of the codes.

    Error:
        Too small by the factor (n - 1) / n as an estimate for a set of which the images are a batch.
    """
    centered = codes - codes.mean(0)
    with torch.autocast(codes.device.type, enabled=False):  # bfloat16 would round each product to 3 digits
        return centered.t() @ centered / len(codes)


def moment_penalty(matrix: Float[Tensor, "latents latents"], *, lambda_od: float, lambda_d: float) -> Float[Tensor, ""]:
    """Return the weighted squared distance of a covariance from the identity.

    Args:
        matrix: The covariance.
        lambda_od: Weight of the squares of the entries off the diagonal, each of which counts, so a pair counts twice.
        lambda_d: Weight of the squares of the diagonal minus 1.
    """
    diagonal = matrix.diagonal()
    off_diagonal = matrix - torch.diag(diagonal)
    return lambda_od * off_diagonal.square().sum() + lambda_d * (diagonal - 1).square().sum()
