"""The interface of a likelihood: what a decoder's output says about the pixels of an image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from betavae.parts import Part

Weights: TypeAlias = Mapping[str, Tensor]
"""What a likelihood learns beside the networks, by name."""


@dataclass(frozen=True, kw_only=True)
class Likelihood(Part):
    """The distribution of an image's pixels around a decoder's output; its fields are its parameters.

    Outputs and images are float32 or float64, and so are the results: `VAE.decode` returns no bfloat16.
    """

    def initial_weights(self) -> dict[str, Tensor]:
        """Return new initial values of what is learnt beside the networks, by name; none unless overridden.

        The model holds them: its optimizer and its checkpoints contain them.
        """
        return {}

    def learnt_values(self, weights: Weights) -> dict[str, Tensor]:
        """Return the present values of the parameters that are learnt, scalars by the names of their fields.

        Each is reported as `weight/NAME` at every evaluation.

        Args:
            weights: Weights of the names of `initial_weights`.
        """
        return {}

    def learnt_names(self) -> list[str]:
        """Return the names of the parameters that are learnt."""
        return list(self.learnt_values(self.initial_weights()))

    @abstractmethod
    def nats(
        self,
        outputs: Float[Tensor, "images channels height width"],
        images: Float[Tensor, "images channels height width"],
        weights: Weights,
    ) -> Float[Tensor, " images"]:
        """Return the negative log likelihood of each image, summed over pixels and channels, in nats.

        Args:
            outputs: The decoder's outputs.
            images: Pixels in 0..1.
            weights: Weights of the names of `initial_weights`.
        """

    def mean_nats(
        self,
        outputs: Float[Tensor, "images channels height width"],
        images: Float[Tensor, "images channels height width"],
        weights: Weights,
    ) -> Float[Tensor, ""]:
        """Return the mean of `nats` over images: the reconstruction term of a loss. Override it for speed alone."""
        return self.nats(outputs, images, weights).mean()

    @abstractmethod
    def pixels(
        self, outputs: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Return the expected pixels, in 0..1, of which pictures are made."""
