"""`--dry-run`: what a sweep would be, option by option, and what it would cost; nothing is started or written."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.process import available_cores, prepare_process
from betavae.training import NonFiniteLossError, TrainingRun
from sweeps.cluster import Resources, found_in_cluster
from sweeps.options.config_file import names_in
from sweeps.options.options import Options, flag
from sweeps.options.presets import PRESETS
from sweeps.search.axes import AXES, Range, written
from sweeps.search.plan import Params, num_confirming, num_trials, planned_trials
from sweeps.storage.trial_folder import NUM_KEPT

_CALIBRATION_SECONDS = 3.0
_TOO_LARGE = (RuntimeError, MemoryError, OverflowError, TypeError)
"""What torch and numpy raise for arrays that they cannot make."""

_NUM_SHOWN = 8
_ALIASES = {"-z": "latent_size", "-b": "batch_size", "-s": "seed"}


@dataclass(frozen=True)
class Cost:
    """What one trial costs, run to its end, measured on this machine by itself.

    Attributes:
        seconds: Of which training takes all but the evaluations.
        images_per_second: While it trains.
        evaluation_seconds: Of one evaluation.
        checkpoint_bytes: Of one checkpoint.
    """

    seconds: float
    images_per_second: float
    evaluation_seconds: float
    checkpoint_bytes: int


def measure_cost(options: Options, data: DSprites, *, device: str) -> Cost:
    """Train the first planned trial for three seconds, score it once and save it once, in a passing folder.

    Raises:
        ValueError: If that trial cannot be trained: its loss is not finite, or it does not fit into memory.
    """
    config = TrialConfig.from_dict(options.trial_values() | _first_params(options))
    try:
        return _measure(config, data, device=device)
    except (NonFiniteLossError, *_TOO_LARGE) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"The first trial must train for the estimate, but with beta {config.beta:g}, latent size "
            f"{config.latent_size}, lr {config.lr:g} and batch size {config.batch_size} it failed: {reason}"
        ) from error


def _measure(config: TrialConfig, data: DSprites, *, device: str) -> Cost:
    prepare_process()
    run = TrainingRun.start(config, data, device=device)
    run.advance(2)  # the first steps build what the others use
    start, first = time.perf_counter(), run.step
    while time.perf_counter() - start < _CALIBRATION_SECONDS:
        run.advance(2)
    images_per_second = (run.step - first) * config.batch_size / (time.perf_counter() - start)
    start = time.perf_counter()
    scores = evaluate(run.model, data, device=device, trained_on=config.images)
    evaluation_seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder, "checkpoint"), scores=scores, report={})
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    num_evaluations = math.ceil(config.steps / config.eval_every)
    seconds = config.steps * config.batch_size / images_per_second + num_evaluations * evaluation_seconds
    return Cost(seconds, images_per_second, evaluation_seconds, size)


def estimate(arguments: Sequence[str]) -> str:
    """Return what `--dry-run` says of time and disk, or why it does not.

    It is measured in a process of its own, which lets go of the GPU when it ends.
    """
    command = [sys.executable, str(Path(__file__).with_name("run.py")), *arguments, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.rpartition("\n\n")[2].strip() if done.returncode == 0 else f"no estimate: {done.stderr.strip()}"


def describe_options(options: Options, *, arguments: Sequence[str]) -> str:
    """Every option, its value, and where that came from: `sweep` is the one that is resumed."""
    in_file = names_in(options.sweep.config) if options.sweep.config is not None else set()
    on_line = {_ALIASES.get(word, word.partition("=")[0].removeprefix("--").removeprefix("no-")) for word in arguments}
    on_line = {name.replace("-", "_") for name in on_line}
    preset = PRESETS[options.sweep.preset] if options.sweep.preset else Options()
    rows = []
    for group, values in vars(options).items():
        for option in fields(values):
            name, value = option.name, getattr(values, option.name)
            is_default = value == getattr(getattr(Options(), group), name)
            otherwise = "" if is_default else "preset" if value == getattr(getattr(preset, group), name) else "sweep"
            origin = "command line" if name in on_line else "file" if name in in_file else otherwise
            rows.append((flag(name), "-" if value is None else written(value), origin))
    rows.append(("eval_every, decided", str(options.eval_every), ""))
    rows.append(("grace_steps, decided", str(options.grace_steps), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for name, value, origin in rows)


def describe_trials(options: Options) -> str:
    """The first configurations, with beta in both scalings: per image, and per pixel and latent."""
    if options.search.search == "optuna":
        return "drawn as the search goes: optuna learns from the trials before"
    planned = planned_trials(options)
    lines = [_describe_params(index, options, params) for index, params in enumerate(planned[:_NUM_SHOWN])]
    left = len(planned) - len(lines)
    return "\n".join([*lines, f"and {left} more"] if left else lines)


def describe_cost(options: Options, cost: Cost, *, resources: Resources) -> str:
    """Time and disk of the whole sweep, if no trial is stopped."""
    stages = (num_trials(options), num_confirming(options))
    rounds = sum(math.ceil(count / resources.num_concurrent) for count in stages)
    disk = sum(stages) * NUM_KEPT * cost.checkpoint_bytes
    return (
        f"at most {_describe_seconds(rounds * cost.seconds)}: {rounds} rounds of {_describe_seconds(cost.seconds)}, if "
        f"trials do not slow each other\n(one trains {cost.images_per_second:.0f} images/s, an evaluation takes "
        f"{cost.evaluation_seconds:.1f} s; three seconds were measured)\n"
        f"at most {disk / 1e6:,.0f} MB: {NUM_KEPT} checkpoints of {cost.checkpoint_bytes / 1e6:.1f} MB a trial"
    )


def describe_resources(options: Options, *, gpus_found: int) -> str:
    """What was asked for against what is there: on this machine, or in the cluster that was joined."""
    asked, where = options.resources, ""
    cpus_found = available_cores()
    if asked.address is not None:
        cpus_found, gpus_found = found_in_cluster()
        where = f" in the cluster at {asked.address}, whose speed is not measured"
    gpus, cpus = ("all" if value is None else value for value in (asked.num_gpus, asked.num_cpus))
    return f"GPUs {gpus} of {gpus_found}, CPU cores {cpus} of {cpus_found}{where}"


def _first_params(options: Options) -> Params:
    if options.search.search != "optuna":
        return planned_trials(options)[0]
    axes = {name: getattr(options.search, name) for name in AXES}
    return {name: axis.high if isinstance(axis, Range) else axis[-1] for name, axis in axes.items()} | {"seed": 0}


def _describe_params(index: int, options: Options, params: Params) -> str:
    config = TrialConfig.from_dict(options.trial_values() | params)
    return (
        f"{index:04}  beta {config.beta:<8.4g} beta_norm {config.beta_norm:<9.4g} latent size {config.latent_size:<3} "
        f"lr {config.lr:<8.3g} seed {config.seed}"
    )


def _describe_seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
