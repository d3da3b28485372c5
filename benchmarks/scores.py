"""The scores: against loops over the library, all of one model, encoding of the whole set, the exact MIG, evaluations.

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
from plain_scores import plain_beta_vae_score, plain_factor_vae_score, plain_importance
from torch.utils.flop_counter import FlopCounterMode

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import EncodedSamples, evaluate, metrics_of
from betavae.metrics import (
    beta_vae_score,
    exact_mutual_information_gap,
    factor_vae_score,
    mutual_information_gap,
)
from betavae.metrics.base import drawn_rows
from betavae.metrics.paired import SPLIT_ROWS
from betavae.metrics.representation import Representation, represent
from betavae.models import VAE
from betavae.process import available_cores, prepare_process
from betavae.training import TrainingRun
from sweeps.options.options import Options
from sweeps.options.presets import PRESETS
from sweeps.search.plan import trial_config
from sweeps.search.space import ends

TRAINED_STEPS = 1_500
REPEATS = 5


def trained_model(data: DSprites) -> VAE:
    """Return a model past its plateau, with ten latents: the posteriors of an untrained model are all alike."""
    run = TrainingRun.start(TrialConfig(steps=TRAINED_STEPS, eval_every=TRAINED_STEPS, batch_size=32), data)
    run.advance(TRAINED_STEPS)
    return run.model


def binned_rows(model: VAE, data: DSprites) -> list[Row]:
    """Compare our MIG with the loop over `mutual_info_score`, on the same codes."""
    rows = drawn_rows(data).indices
    codes, factors = represent(model, data, indices=rows).mean, data.factors.indices_to_factors(rows)
    ours = mutual_information_gap(codes, factors, num_bins=20, binning="width").score
    theirs = plain_mig(codes, factors)
    contenders = {
        "ours": lambda: seconds(lambda: mutual_information_gap(codes, factors, num_bins=20, binning="width")),
        "loop": lambda: seconds(lambda: plain_mig(codes, factors)),
    }
    times = take_turns(contenders, repeats=REPEATS)
    gain = ratios(times["loop"], times["ours"])
    how = f"10,000 rows, 10 latents, one thread, {REPEATS} turns; scores {ours:.6f} and {theirs:.6f}"
    return [
        Row("binned MIG, loop over scikit-learn / ours", f"{gain:.1f}", "10", how,
            {name: spread.values for name, spread in times.items()}),
    ]  # fmt: skip


def sampled_rows(model: VAE, data: DSprites) -> list[Row]:
    """Compare the scores of beta-VAE and FactorVAE with loops over points, on the same codes."""
    rows = drawn_rows(data).indices
    codes, factors = represent(model, data, indices=rows).mean, data.factors.indices_to_factors(rows)
    table = []
    for label, ours, theirs in (
        ("BetaVAE score", beta_vae_score, plain_beta_vae_score),
        ("FactorVAE score", factor_vae_score, plain_factor_vae_score),
    ):
        take = partial(ours, codes, factors, generator=np.random.default_rng(0))
        contenders = {"ours": partial(seconds, take), "loop": partial(seconds, partial(theirs, codes, factors))}
        times = take_turns(contenders, repeats=2)
        gain = ratios(times["loop"], times["ours"])
        how = (
            f"10,000 rows, 10 latents, one thread, 2 turns; scores {take().score:.3f} and {theirs(codes, factors):.3f}"
        )
        raw = {name: spread.values for name, spread in times.items()}
        table.append(Row(f"{label}, loop over points / ours", f"{gain:.1f}", "", how, raw))
    return table


def battery_rows(model: VAE, data: DSprites) -> list[Row]:
    """Time every score of one model with its chance level, once its images are encoded."""
    torch.set_num_threads(available_cores())
    samples, times = EncodedSamples(lambda: model, data), {}
    for name, (metric, rows) in metrics_of("all", dataset=None, data=data).items():
        samples.take(rows)
        times[name] = seconds(partial(samples.score, metric, rows))
    others = sum(time for name, time in times.items() if name != "dci")
    split = samples.take(drawn_rows(data, num_rows=SPLIT_ROWS))
    train = slice(0, 2 * SPLIT_ROWS // 3)
    loop = seconds(partial(plain_importance, split.mean[train], split.factors[train]))
    how = f"10 latents, {available_cores()} cores, chance levels and ceilings included, once"
    dci = f"{how}; factors in turn, without the chance level: {loop:.0f} s"
    return [
        Row("all scores but DCI", f"{others:.1f} s", "60 s", how, times),
        Row("DCI, 10,000 training and 5,000 test rows", f"{times['dci']:.0f} s", "300 s", dci, {"loop": loop}),
    ]


def encoding_rows(model: VAE, data: DSprites) -> tuple[list[Row], Representation]:
    """Encode the whole set on one core and on two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode(data.images(np.arange(64)))
    flops = counter.get_total_flops() / 64
    everything, rows = np.arange(len(data)), []
    for num_threads, goal in ((1, 70), (2, 40)):
        torch.set_num_threads(num_threads)
        start = time.perf_counter()
        representation = represent(model, data, indices=everything)
        duration = time.perf_counter() - start
        peak = matmul_gflops(torch.float32)
        share = flops * len(data) / 1e9 / duration / peak
        how = f"{len(data):,} images in float32, once; {share:.0%} of a matrix product's {peak:.0f} GFLOP/s"
        threads = "one thread" if num_threads == 1 else f"{num_threads} threads"
        name = f"encoding the whole set, {threads}"
        rows.append(Row(name, f"{duration:.0f} s", f"{goal} s", how, {"seconds": duration}))
    return rows, representation


def exact_row(representation: Representation, data: DSprites) -> Row:
    """Time the quadrature alone, from posteriors that are there."""
    torch.set_num_threads(2)
    assert representation.logvar is not None
    take = partial(exact_mutual_information_gap, representation.mean, representation.logvar, data.factors)
    times = Spread(tuple(seconds(take) for _ in range(3)))
    how = f"{len(data):,} rows, {representation.mean.shape[1]} latents, after encoding, 3 times"
    return Row("exact MIG", f"{times:.1f} s", "3 s on 2 cores", how, {"seconds": times.values})


def evaluation_rows_of_presets(data: DSprites) -> list[Row]:
    """Return the share of a trial that its evaluations take, for every preset."""
    rows = []
    for name, preset in PRESETS.items():
        config = _largest_config(preset)
        run = TrainingRun.start(config, data)
        run.advance(20)
        rate = Spread(tuple(run.advance(100).images_per_second for _ in range(3))).median
        score = partial(evaluate, run.model, data, dataset=config.dataset)
        score()
        once = Spread(tuple(seconds(score) for _ in range(3))).median
        num_evaluations = math.ceil(config.steps / config.eval_every)
        training = config.steps * config.batch_size / rate
        share = num_evaluations * once / (training + num_evaluations * once)
        how = f"{num_evaluations} evaluations of {once:.2f} s in a trial of {training:.0f} s, one thread"
        rows.append(Row(f"evaluation, preset {name}", f"{share:.1%}", "5 %", how, {"share": share}))
    return rows


def _largest_config(options: Options) -> TrialConfig:
    """Return the configuration of the last value of every axis: with the most latents, in all presets."""
    (branch,) = options.space.branches()
    return trial_config({**branch.parts, **{name: ends(axis)[-1] for name, axis in branch.axes.items()}}, seed=0)


def measure() -> list[Row]:
    """Return the table's rows."""
    prepare_process()
    data = DSprites.open()
    model = trained_model(data)
    rows = [*binned_rows(model, data), *sampled_rows(model, data)]
    presets = evaluation_rows_of_presets(data)
    encoding, representation = encoding_rows(model, data)
    return [*rows, *presets, *encoding, exact_row(representation, data), *battery_rows(model, data)]


if __name__ == "__main__":
    main(measure)
