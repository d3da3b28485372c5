"""How far the position latents are turned against posX and posY, of every model of a sweep that trained to its end.

python studies/angles.py results/beta-tcvae
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from betavae.analysis.results import name_in_sweep, read_sweep
from betavae.analysis.rotation import best_rotation
from betavae.checkpoint import load_model
from betavae.data import DSprites
from betavae.evaluation import evaluation_rows
from betavae.metrics.representation import represent


def rows_of(folder: Path, data: DSprites) -> Iterator[str]:
    """A row of the table for each model, on the rows of the live scores."""
    indices = evaluation_rows(len(data))
    factors = data.factors.indices_to_factors(indices)
    columns = [data.factors.names.index(name) for name in ("posX", "posY")]
    sweep = read_sweep(folder)
    for trial in (*sweep.trials, *sweep.confirming):
        if not trial.is_complete or trial.final_checkpoint is None:
            continue
        codes = represent(load_model(trial.final_checkpoint.folder), data, indices=indices).mean
        found = best_rotation(codes, factors, columns=columns)
        yield (
            f"| {name_in_sweep(trial)} | {trial.config.beta:g} | {trial.config.latent_size} | {found.score:.3f} "
            f"| {found.degrees} | {found.turned_score:.3f} |"
        )


if __name__ == "__main__":
    whole_set = DSprites.open()
    print(
        "| trial | beta | latents | mig at the end | turned by, degrees | mig, turned back |\n|---|---|---|---|---|---|"
    )
    for named in sys.argv[1:]:
        for row in rows_of(Path(named), whole_set):
            print(row)
