"""The training loop that public code commonly has, to compare with.

Network, loss and optimizer are ours. The images are bytes in memory, behind a shuffling DataLoader; the arithmetic is
float32; transposed convolutions have their bias; every step calls `.item()`. The process has freed a large array, like
one that has read its data set from files. Run as a program it trains one model and prints its MIG, by a loop over
scikit-learn's `mutual_info_score`:

    python benchmarks/plain_loop.py --beta 4 --steps 1200
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.data import DSprites

_NUM_LOADED = 65_536
_FREED_BYTES = 31 * 2**20
"""Just below the 32 MiB up to which glibc adapts: it keeps twice the largest array that was freed. Without it the heap
shrinks and grows in every step, and the loop has 0.7 of its speed."""


class ByteImages(Dataset[Tensor]):
    """Images as bytes; each access converts one to floats."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.images[index]).float().unsqueeze(0)


class PlainVAE(nn.Module):
    """Burgess et al.'s network in torch's own layers, with torch's own initial weights."""

    def __init__(self, latent_size: int = 10) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2 * latent_size),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(),
            nn.Unflatten(1, (32, 4, 4)), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pixels' probabilities, and the posterior's mean and log variance."""
        mean, logvar = self.encoder(images).chunk(2, dim=1)
        return self.decoder(mean + torch.randn_like(mean) * (0.5 * logvar).exp()), mean, logvar


class PlainLoop:
    """A model in training, step by step.

    On a GPU, the loader gives pinned memory, as public code does.
    """

    def __init__(
        self, *, beta: float = 4.0, batch_size: int = 64, lr: float = 1e-3, seed: int = 0, device: str = "cpu"
    ) -> None:
        torch.manual_seed(seed)
        _free_large_array()
        data = DSprites.open()
        chosen = np.sort(np.random.default_rng(seed).choice(len(data), _NUM_LOADED, replace=False))
        images = np.unpackbits(data.packed[chosen], axis=1).reshape(-1, 64, 64)
        self.model, self.beta, self.device = PlainVAE().to(device), beta, device
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.loader = DataLoader(
            ByteImages(images), batch_size=batch_size, shuffle=True, drop_last=True, pin_memory=device != "cpu"
        )
        self.batches = self._endless()

    def train(self, num_steps: int) -> float:
        """Train, and return the mean loss in nats per image."""
        total = 0.0
        for _ in range(num_steps):
            images = next(self.batches).to(self.device)
            pixels, mean, logvar = self.model(images)
            recon = F.binary_cross_entropy(pixels, images, reduction="sum") / len(images)
            kl = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / len(images)
            loss = recon + self.beta * kl
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / num_steps

    def _endless(self) -> Iterator[Tensor]:
        while True:
            yield from self.loader


def _free_large_array() -> None:
    np.empty(_FREED_BYTES, np.uint8).fill(1)


def plain_mig(codes: np.ndarray, factors: np.ndarray, *, num_bins: int = 20) -> float:
    """Return the MIG by equal-width bins, latent by latent and factor by factor."""
    information = np.empty((codes.shape[1], factors.shape[1]))
    for latent in range(codes.shape[1]):
        edges = np.histogram_bin_edges(codes[:, latent], num_bins)
        bins = np.digitize(codes[:, latent], edges[:-1])
        for factor in range(factors.shape[1]):
            information[latent, factor] = mutual_info_score(factors[:, factor], bins)
    entropies = np.array([mutual_info_score(column, column) for column in factors.T])
    top = np.sort(information, axis=0)
    return float(np.mean((top[-1] - top[-2]) / entropies))


def main() -> None:
    """Train one model, and print its score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--beta", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=1200)
    arguments = parser.parse_args()
    loop, data = PlainLoop(beta=arguments.beta), DSprites.open()
    loop.train(arguments.steps)
    rows = np.sort(np.random.default_rng(0).choice(len(data), 10_000, replace=False))
    with torch.no_grad():
        codes = torch.cat([loop.model(data.images(part))[1] for part in np.array_split(rows, 100)]).numpy()
    print(f"beta {arguments.beta:g}  mig {plain_mig(codes, data.factors.indices_to_factors(rows)):.4f}")


if __name__ == "__main__":
    main()
