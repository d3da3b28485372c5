"""The scores: binned MIG against a loop over scikit-learn, encoding the whole set, the exact MIG, one evaluation.

python benchmarks/scores.py
"""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np
import torch
from measure import Row, Spread, main, matmul_gflops, ratios, seconds, take_turns
from plain_loop import plain_mig
from torch.utils.flop_counter import FlopCounterMode

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate, evaluation_rows
from betavae.metrics import exact_mutual_information_gap, mutual_information_gap
from betavae.metrics.representation import Representation, represent
from betavae.models import VAE
from betavae.process import prepare_process
from betavae.training import TrainingRun
from sweeps.options.presets import PRESETS

TRAINED_STEPS = 1_500
REPEATS = 5


def trained_model(data: DSprites) -> VAE:
    """A model past its plateau, with ten latents: the posteriors of an untrained one are all alike."""
    run = TrainingRun.start(TrialConfig(steps=TRAINED_STEPS, eval_every=TRAINED_STEPS, batch_size=32), data)
    run.advance(TRAINED_STEPS)
    return run.model


def binned_rows(model: VAE, data: DSprites) -> list[Row]:
    """Ours against the loop over `mutual_info_score`, on the same codes."""
    rows = evaluation_rows(len(data))
    codes, factors = represent(model, data, indices=rows).mean, data.factors.indices_to_factors(rows)
    ours = mutual_information_gap(codes, factors, num_bins=20, binning="width").score
    theirs = plain_mig(codes, factors)
    contenders = {
        "ours": lambda: seconds(lambda: mutual_information_gap(codes, factors, num_bins=20, binning="width")),
        "loop": lambda: seconds(lambda: plain_mig(codes, factors)),
    }
    taken = take_turns(contenders, repeats=REPEATS)
    gain = ratios(taken["loop"], taken["ours"])
    how = f"10,000 rows, 10 latents, one thread, {REPEATS} turns; scores {ours:.6f} and {theirs:.6f}"
    return [
        Row("binned MIG, loop over scikit-learn / ours", f"{gain:.1f}", "10", how,
            {name: spread.values for name, spread in taken.items()}),
    ]  # fmt: skip


def encoding_rows(model: VAE, data: DSprites) -> tuple[list[Row], Representation]:
    """The whole set encoded, by one core and by two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode(data.images(np.arange(64)))
    flops = counter.get_total_flops() / 64
    everything, rows = np.arange(len(data)), []
    for num_threads, goal in ((1, 70), (2, 40)):
        torch.set_num_threads(num_threads)
        start = time.perf_counter()
        representation = represent(model, data, indices=everything)
        taken = time.perf_counter() - start
        peak = matmul_gflops(torch.float32)
        share = flops * len(data) / 1e9 / taken / peak
        how = f"737,280 images in float32, once; {share:.0%} of a matrix product's {peak:.0f} GFLOP/s"
        threads = "one thread" if num_threads == 1 else f"{num_threads} threads"
        rows.append(Row(f"encoding the whole set, {threads}", f"{taken:.0f} s", f"{goal} s", how, {"seconds": taken}))
    return rows, representation


def exact_row(representation: Representation, data: DSprites) -> Row:
    """The quadrature alone, from posteriors that are there."""
    torch.set_num_threads(2)
    take = partial(exact_mutual_information_gap, representation.mean, representation.logvar, data.factors)
    taken = Spread(tuple(seconds(take) for _ in range(3)))
    how = f"737,280 rows, {representation.mean.shape[1]} latents, after encoding, 3 times"
    return Row("exact MIG", f"{taken:.1f} s", "3 s on 2 cores", how, {"seconds": taken.values})


def evaluation_rows_of_presets(data: DSprites) -> list[Row]:
    """The share of a trial that its evaluations take, in every preset."""
    rows = []
    for name, preset in PRESETS.items():
        values = preset.trial_values() | {"latent_size": max(_sizes(preset.search.latent_size))}
        config = TrialConfig.from_dict(values)
        run = TrainingRun.start(config, data)
        run.advance(20)
        rate = Spread(tuple(run.advance(100).images_per_second for _ in range(3))).median
        score = partial(evaluate, run.model, data, trained_on=config.images)
        score()
        once = Spread(tuple(seconds(score) for _ in range(3))).median
        num_evaluations = math.ceil(config.steps / config.eval_every)
        training = config.steps * config.batch_size / rate
        share = num_evaluations * once / (training + num_evaluations * once)
        how = f"{num_evaluations} evaluations of {once:.2f} s in a trial of {training:.0f} s, one thread"
        rows.append(Row(f"evaluation, preset {name}", f"{share:.1%}", "5 %", how, {"share": share}))
    return rows


def _sizes(axis: object) -> list[int]:
    assert isinstance(axis, tuple)  # no preset has a range of latent sizes
    return list(axis)


def measure() -> list[Row]:
    """The table's rows."""
    prepare_process()
    data = DSprites.open()
    model = trained_model(data)
    rows = binned_rows(model, data)
    presets = evaluation_rows_of_presets(data)
    encoding, representation = encoding_rows(model, data)
    return [*rows, *presets, *encoding, exact_row(representation, data)]


if __name__ == "__main__":
    main(measure)
