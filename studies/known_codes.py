"""Every score that needs no decoder, of codes whose quality is known, and of a trained model.

python studies/known_codes.py [CHECKPOINT]

The codes have ten latents. Perfect: five hold the factors, standardised, with narrow posteriors; five are near the
prior. Rotated: the same codes, turned by a random rotation. Random: draws from the prior.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

import numpy as np
from jaxtyping import Float, Int

from betavae.data import FactorImages, FactorSpace, open_dataset
from betavae.evaluation import EncodedSamples, metrics_of
from betavae.metrics import METRICS, EncodedSample, Rows, Score
from betavae.metrics.registry import Known
from betavae.process import available_cores, prepare_process
from betavae.records.checkpoint import load_model
from sweeps.printing import input_errors_end_the_script

NUM_LATENTS = 10
NARROW, PRIOR = -12.0, 0.0
"""Log variances of a latent that holds a factor, and of a latent near the prior."""

Take = Callable[[Rows], EncodedSample]


def perfect(factors: Int[np.ndarray, "rows factors"], space: FactorSpace) -> Float[np.ndarray, "rows latents"]:
    """Return a latent for each factor, standardised over the whole set, and latents whose mean is near 0."""
    sizes = np.array(space.sizes)
    standardised = (factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12)
    others = 0.01 * noise(len(factors))[:, space.num_factors :]
    return np.hstack([standardised, others])


def rotated(factors: Int[np.ndarray, "rows factors"], space: FactorSpace) -> Float[np.ndarray, "rows latents"]:
    """Return the perfect codes, turned by a random rotation."""
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(NUM_LATENTS, NUM_LATENTS)))
    codes: Float[np.ndarray, "rows latents"] = perfect(factors, space) @ rotation
    return codes


def noise(num_rows: int) -> Float[np.ndarray, "rows latents"]:
    """Return draws from the prior."""
    return np.random.default_rng(2).normal(size=(num_rows, NUM_LATENTS))


def sample_of(name: str, data: FactorImages, rows: Rows) -> EncodedSample:
    """Return the codes of some images."""
    factors, space = data.factors.indices_to_factors(rows.indices), data.factors
    codes = {"perfect": perfect, "rotated": rotated}.get(name, lambda factors, _: noise(len(factors)))(factors, space)
    logvar = np.full_like(codes, NARROW)
    if name == "perfect":
        logvar[:, space.num_factors :] = PRIOR
    return EncodedSample(codes, logvar, factors, space, rows)


def scores_of(take: Take, data: FactorImages) -> dict[str, tuple[Score, float]]:
    """Return every score that needs no decoder with its seconds, without the encoding."""
    taken = {}
    known = Known(has_decoder=False)
    for name, (metric, rows) in metrics_of("all", dataset=None, data=data, known=known).items():
        sample, start = take(rows), time.perf_counter()
        taken[name] = metric.score(sample), time.perf_counter() - start
        print(f"{name}: {taken[name][0].value:.4f} in {taken[name][1]:.2f} s", file=sys.stderr)
    return taken


def cells_of(name: str, score: Score) -> dict[str, tuple[float, float | None]]:
    """Return a score and its companions with their chance levels, by name."""
    companions = {
        f"{name}, {detail}": (score.details[detail], score.details.get(f"chance_of_{detail}"))
        for detail in METRICS[name].companions
    }
    return {name: (score.value, score.chance), **companions}


def table(columns: dict[str, dict[str, tuple[Score, float]]]) -> str:
    """Return a table in Markdown: scores by codes, chance levels in brackets, and the seconds of the last codes."""
    lines = ["| score | " + " | ".join(columns) + " | ceiling | seconds |", "|---" * (len(columns) + 3) + "|"]
    last = list(columns)[-1]
    for name, (score, seconds) in columns[last].items():
        by_codes = {codes: cells_of(name, scores[name][0]) for codes, scores in columns.items()}
        for each in by_codes[last]:
            is_score = each == name
            cells = [_cell(*by_codes[codes][each]) for codes in columns]
            ends = [_number(score.ceiling) if is_score else "", f"{seconds:.2f}" if is_score else ""]
            lines.append("| " + " | ".join([f"`{each}`", *cells, *ends]) + " |")
    return "\n".join(lines)


def _cell(value: float, chance: float | None) -> str:
    return f"{value:.3f}" if chance is None else f"{value:.3f} ({chance:.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="a folder with a model's weights")
    models = {folder: load_model(folder) for folder in parser.parse_args().checkpoints}
    prepare_process(num_threads=available_cores())
    data = open_dataset()
    columns = {name: scores_of(partial(sample_of, name, data), data) for name in ("perfect", "rotated", "random")}
    for folder in models:
        samples = EncodedSamples(partial(models.__getitem__, folder), data)
        columns[folder] = scores_of(samples.take, data)
    print(table(columns))


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
