"""Presets: named sets of default options."""

from __future__ import annotations

from sweeps.options.options import Options, PresetName, SearchOptions
from sweeps.search.space import Range, Space

_METHODS = ("beta-vae", "annealed-vae", "factor-vae", "dip-vae-i", "dip-vae-ii", "beta-tcvae")

PRESETS: dict[PresetName, Options] = {
    "quick": Options(
        search=SearchOptions(scheduler="asha"),
        space=Space(
            {
                "objective": ("beta-tcvae",),
                "beta": (16.0, 10.0),
                "latent_size": (10, 5),
                "lr": (1e-3, 7e-4),
                "steps": (2_250,),
                "batch_size": (64,),
                "eval_every": (750,),
            }
        ),
    ),
    "full": Options(
        search=SearchOptions(search="optuna", trials=60, scheduler="asha", grace_steps=10_000),
        space=Space(
            {
                "beta": Range(1.0, 32.0),
                "latent_size": (6, 10, 16),
                "lr": Range(1e-4, 1e-3),
                "steps": (300_000,),
                "batch_size": (64,),
                "eval_every": (10_000,),
            }
        ),
    ),
    "seed-study": Options(
        search=SearchOptions(repeats=5),
        space=Space(
            {
                "images": (10_000,),
                "architecture": ("conv3",),
                "beta": (1.0, 3.0, 10.0),
                "latent_size": (64,),
                "lr": (1e-3,),
                "steps": (3_125,),
                "batch_size": (64,),
            }
        ),
    ),
    "methods": Options(
        search=SearchOptions(repeats=5),
        space=Space(
            {
                "architecture": ("conv64",),
                "objective": _METHODS,
                "beta-vae.beta": (1.0, 2.0, 4.0, 6.0, 8.0, 16.0),
                "beta-tcvae.beta": (1.0, 2.0, 4.0, 6.0, 8.0, 10.0),
                "annealed-vae.gamma": (1_000.0,),
                "annealed-vae.c_max": (5.0, 10.0, 25.0, 50.0, 75.0, 100.0),
                "annealed-vae.capacity_steps": (100_000,),
                "factor-vae.gamma": (10.0, 20.0, 30.0, 40.0, 50.0, 100.0),
                "dip-vae-i.lambda_od": (1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
                "dip-vae-i.lambda_d_factor": (10.0,),
                "dip-vae-ii.lambda_od": (1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
                "dip-vae-ii.lambda_d_factor": (1.0,),
                "latent_size": (10,),
                "lr": (1e-4,),
                "steps": (300_000,),
                "batch_size": (64,),
                "eval_every": (30_000,),
            }
        ),
    ),
    "methods-small": Options(
        search=SearchOptions(repeats=3),
        space=Space(
            {
                "objective": _METHODS,
                "beta-vae.beta": (1.0, 4.0, 16.0),
                "beta-tcvae.beta": (2.0, 6.0, 10.0),
                "annealed-vae.gamma": (10.0,),
                "annealed-vae.c_max": (5.0, 25.0, 75.0),
                "annealed-vae.capacity_steps": (2_000,),
                "factor-vae.gamma": (10.0, 30.0, 100.0),
                "dip-vae-i.lambda_od": (1.0, 10.0, 50.0),
                "dip-vae-i.lambda_d_factor": (10.0,),
                "dip-vae-ii.lambda_od": (1.0, 10.0, 50.0),
                "dip-vae-ii.lambda_d_factor": (1.0,),
                "latent_size": (10,),
                "lr": (1e-3,),
                "steps": (3_000,),
                "batch_size": (128,),
                "eval_every": (500,),
            }
        ),
    ),
}
"""Options by preset.

quick: `python sweeps/run.py`. Eight trials, 6 min 48 s on two cores, best `mig_exact` 0.328 (0.194 with an earlier
choice, a plain beta-VAE in batches of 16). A beta-TCVAE learns soonest in batches of 64 and 128 with a beta of 10 to 24
(docs/results.md). The larger beta and latent size come first, since ASHA never stops the first trials at a rung. The
first rung is at 48,000 images.
full: `python sweeps/run.py --preset full`. 60 trials with the training lengths and model sizes of Locatello et al.
2019; not yet run on a GPU.
seed-study: `python sweeps/run.py --preset seed-study`. Five seeds of each beta, trained for 20 epochs of the first
10,000 images, as in the seed study. By its protocol the medians were 0.0103, 0.0101 and 0.0169, when each trial had a
seed of its own (docs/results.md).
methods: `python sweeps/run.py --preset methods`. The six objectives and six values each of Locatello et al. 2019, with
five seeds: 180 trials of 19.2 million images. By the speeds in docs/methods.md they take about 17 days on two cores;
not yet run on a GPU.
methods-small: `python sweeps/run.py --preset methods-small`. Three of these values each, with three seeds: 54 trials of
384,000 images. They take about 2.4 h on two free cores, at 1,400 images/s a core and 0.58 of that for factor-vae, and
0.9 h more for the exact MIG of the final models. 51 of them took 198 s on an H100.
The learning rate 1e-3 learns in so few steps. The capacity of annealed-vae rises over 2,000 steps, and its gamma is 10
in place of 1,000: with gamma 1,000 and 30, and a capacity that rose to 25 nats in 1,000 steps, the reconstruction after
1,500 steps was 566 nats, that of the mean image (one run each); with gamma 10 and a rise in 2,000 steps it was 106 nats
after 1,250 steps.
"""
