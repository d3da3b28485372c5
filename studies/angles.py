"""How far the position latents are rotated against the position factors, of every model that trained to its end.

python studies/angles.py results/beta-tcvae
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

from betavae.columns import field_column
from betavae.data import DSPRITES_FACTORS, DSpritesDataset, FactorSpace
from betavae.errors import InputError
from betavae.metrics import Codes
from betavae.records.checkpoint import CheckpointError, read_codes
from betavae.records.sweep import Sweep, name_in_sweep, read_sweep
from betavae.records.trial import Trial
from betavae.report.rotation import Rotation, best_rotation
from sweeps.printing import input_errors_end_the_script


@dataclass(frozen=True)
class Model:
    """A trial's model at the end of its training.

    Attributes:
        trial: The trial.
        codes: The posteriors of the images that `mig` is taken of.
        rotation: The rotation of the two position latents.
    """

    trial: Trial
    codes: Codes
    rotation: Rotation


def models_of(sweep: Sweep, space: FactorSpace = DSPRITES_FACTORS) -> Iterator[Model]:
    """Give every model of a sweep and of its confirmation that trained to its end; name on stderr what is left out.

    Args:
        sweep: The sweep.
        space: The factors of its data set, with a position.
    """
    assert space.position is not None
    columns = [space.column(name) for name in space.position]
    for trial in (*sweep.trials, *sweep.confirming):
        if not trial.is_complete:
            continue
        try:
            codes = _final_codes(trial)
        except CheckpointError as error:
            print(f"{name_in_sweep(trial)} is left out: {error}", file=sys.stderr)
            continue
        rotation = best_rotation(codes.mean, space.indices_to_factors(codes.rows), columns=columns)
        yield Model(trial, codes, rotation)


def parse_sweeps(description: str | None) -> list[Sweep]:
    """Read the sweeps that the command line names, before any of them is worked on.

    Raises:
        InputError: If a folder is not that of a sweep of dSprites.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    sweeps = [read_sweep(folder) for folder in parser.parse_args().folders]
    for sweep in sweeps:
        if others := [name for name in sweep.dataset_names if name != DSpritesDataset.name]:
            raise InputError(f"{sweep.folder} must be a sweep of dsprites, but has trials of {', '.join(others)}.")
    return sweeps


def main() -> None:
    """Print the table."""
    sweeps, beta = parse_sweeps(__doc__), field_column("beta")
    print("| trial | beta | latents | mig at the end | rotated by, degrees | mig, rotated back |")
    print("|---|---|---|---|---|---|")
    for sweep in sweeps:
        for model in models_of(sweep):
            config, rotation = model.trial.config, model.rotation
            print(
                f"| {name_in_sweep(model.trial)} | {beta.write(config.value('beta'))} | {config.latent_size} "
                f"| {rotation.score:.3f} | {rotation.degrees} | {rotation.rotated_score:.3f} |"
            )


def _final_codes(trial: Trial) -> Codes:
    """Read the codes of a trial's last step.

    Raises:
        CheckpointError: If they cannot be read, or hold one latent, which has no angle.
    """
    if trial.final_checkpoint is None:
        raise CheckpointError("it has no checkpoint of its end.")
    if trial.config.latent_size < 2:
        raise CheckpointError("it has one latent.")
    return read_codes(trial.final_checkpoint.folder)


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
