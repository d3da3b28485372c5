"""How far the position latents are turned against posX and posY, of every model of a sweep that trained to its end.

python studies/angles.py results/beta-tcvae
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.data import DSprites
from betavae.evaluation import evaluation_rows
from betavae.metrics.representation import Representation, represent
from betavae.records.checkpoint import load_model
from betavae.records.sweep import name_in_sweep, read_sweep
from betavae.records.trial import Trial
from betavae.report.rotation import Rotation, best_rotation


@dataclass(frozen=True)
class Model:
    """A trial's model at the end of its training, its posteriors on the rows of the live scores, and their turn."""

    trial: Trial
    posteriors: Representation
    rotation: Rotation


def models_of(folder: Path, data: DSprites) -> Iterator[Model]:
    """Every model of a sweep that trained to its end, those that confirm too; of what is left out, why is said."""
    indices = evaluation_rows(len(data))
    factors = data.factors.indices_to_factors(indices)
    columns = [data.factors.names.index(name) for name in ("posX", "posY")]
    sweep = read_sweep(folder)
    for trial in (*sweep.trials, *sweep.confirming):
        if not trial.is_complete:
            continue
        if trial.final_checkpoint is None or trial.config.latent_size < 2:
            why = "no checkpoint of its end" if trial.final_checkpoint is None else "one latent"
            print(f"{name_in_sweep(trial)} is left out: it has {why}", file=sys.stderr)
        else:
            posteriors = represent(load_model(trial.final_checkpoint.folder), data, indices=indices)
            yield Model(trial, posteriors, best_rotation(posteriors.mean, factors, columns=columns))


def asked_folders(description: str | None) -> list[Path]:
    """The sweeps that the command line names."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    folders: list[Path] = parser.parse_args().folders
    return folders


def main() -> None:
    """Print the table."""
    folders = asked_folders(__doc__)
    data = DSprites.open()
    print("| trial | beta | latents | mig at the end | turned by, degrees | mig, turned back |")
    print("|---|---|---|---|---|---|")
    for folder in folders:
        for model in models_of(folder, data):
            config, turn = model.trial.config, model.rotation
            print(
                f"| {name_in_sweep(model.trial)} | {config.beta:g} | {config.latent_size} | {turn.score:.3f} "
                f"| {turn.degrees} | {turn.turned_score:.3f} |"
            )


if __name__ == "__main__":
    main()
