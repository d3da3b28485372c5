"""Traversals as figures: the images of a decoder as one latent alone moves."""

from __future__ import annotations

import io

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from betavae.arrays import ArrayLike, as_float_tensor
from betavae.models import VAE
from betavae.samples import traverse

_INCHES_PER_PICTURE = 0.9
_SCREEN_DPI = 100


class ShownFigure(Figure):
    """A figure that a notebook shows by itself: without pyplot, it shows matplotlib's own as its name alone."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_SCREEN_DPI)
        return buffer.getvalue()


@torch.no_grad()
def latent_traversal(
    model: VAE,
    device: torch.device | str = "cpu",
    *,
    dim: int = 0,
    image: ArrayLike | None = None,
    limit: float = 3.0,
    num_columns: int = 9,
) -> ShownFigure:
    """Draw one row of images: latent `dim` from -limit to +limit, the other latents fixed.

    A notebook shows the figure; `figure.savefig(path)` writes it.

    Args:
        model: On `device`.
        device: Where to decode.
        dim: The latent that moves, 0 .. latent_size - 1.
        image: An array or tensor of the model's channels, height and width, 0 to 1; of one channel, height and width
            will do. The other latents stay at its posterior mean; at the prior's mean, all zeros, if None.
        limit: In standard deviations of the prior.
        num_columns: Images, from left to right in equal steps.

    Raises:
        ValueError: If the model has no such latent, the image is not of the model's shape, limit is not positive, or
            there are fewer than two columns.
    """
    _check(model, dim=dim, limit=limit, num_columns=num_columns)
    code = torch.zeros(model.latent_size, device=device)
    if image is not None:
        code = model.encode(_as_batch(image, model, like=code)).mean[0]
    values = torch.linspace(-limit, limit, num_columns, device=code.device)
    pictures = traverse(model, code, values=values)[dim].movedim(-3, -1).cpu().numpy()
    figure = ShownFigure(figsize=(_INCHES_PER_PICTURE * num_columns, 1.5 * _INCHES_PER_PICTURE), layout="constrained")
    for axes, picture, value in zip(figure.subplots(1, num_columns), pictures, values.tolist(), strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)  # of one channel in grey, of three in colour
        axes.set_title(f"{value:+.2g}" if value else "0", fontsize=8)
        axes.set_axis_off()
    figure.suptitle(f"latent {dim}, in standard deviations of the prior", fontsize=9)
    return figure


def _as_batch(image: ArrayLike, model: VAE, *, like: Tensor) -> Float[Tensor, "1 channels height width"]:
    pixels, shape = as_float_tensor("image", image, like=like), model.image_shape
    shapes = [shape[1:], shape] if shape[0] == 1 else [shape]
    if pixels.shape not in shapes:
        raise ValueError(f"image must have shape {' or '.join(map(str, shapes))}, but got {tuple(pixels.shape)}.")
    return pixels.reshape(1, *shape)


def _check(model: VAE, *, dim: int, limit: float, num_columns: int) -> None:
    if not 0 <= dim < model.latent_size:
        raise ValueError(f"dim must be in 0 .. {model.latent_size - 1}, the model's latents, but got {dim}.")
    if not limit > 0:
        raise ValueError(f"limit must be positive, but got {limit}.")
    if num_columns < 2:
        raise ValueError(f"num_columns must be at least 2, but got {num_columns}.")
