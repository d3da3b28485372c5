"""`--dry-run`: describe a sweep's options and trials, and estimate its cost, without starting or writing anything."""

from __future__ import annotations

import heapq
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from betavae.config import TrialConfig
from betavae.data import FactorImages
from betavae.errors import InputError
from betavae.evaluation import metrics_of
from betavae.latent_rotation import NUM_IMAGES
from betavae.process import available_cores, prepare_process
from betavae.training import NonFiniteLossError, TrainingRun
from sweeps.cluster import Resources, cluster_cores_and_gpus
from sweeps.options.fields import flag, options_of
from sweeps.options.options import GROUPS, Evaluation, Options
from sweeps.search.plan import num_confirming_trials, num_trials, planned_trials, trial_config
from sweeps.search.space import Axis, Point, axis_text, ends
from sweeps.storage.trial_folder import NUM_KEPT
from sweeps.tables import describe_config, describe_trial

_CALIBRATION_SECONDS = 3.0
_SIZE_ERRORS = (RuntimeError, MemoryError, OverflowError, TypeError)
"""Errors that torch and numpy raise for arrays that are too large."""

_NUM_LISTED = 8

_TRAINED_PER_ENCODED = 3
"""Images that are encoded in the time in which one is trained on, roughly."""


@dataclass(frozen=True)
class Cost:
    """The cost of the costliest trial, measured alone on this machine.

    Attributes:
        config: The trial's configuration.
        images_per_second: Speed of training.
        evaluation_seconds: Time of one evaluation.
        rotation_seconds: Time of one rotation of the latents; 0 if the trial has none.
        final_seconds: Time of the scores that the last evaluation takes beside these, by their numbers of images.
        checkpoint_bytes: Size of one checkpoint.
    """

    config: TrialConfig
    images_per_second: float
    evaluation_seconds: float
    rotation_seconds: float
    final_seconds: float
    checkpoint_bytes: int

    @property
    def seconds(self) -> float:
        """Time of training and evaluations of the trial, if it is not stopped."""
        return self.seconds_of(self.config)

    def seconds_of(self, config: TrialConfig) -> float:
        """Return the time of another trial, by its steps, its batch size and the relative cost of its objective."""
        relative_cost = config.objective.relative_cost / self.config.objective.relative_cost
        images = config.num_updates * config.batch_size
        num_evaluations = math.ceil(config.steps / config.eval_every)
        training_seconds = images * relative_cost / self.images_per_second
        rotation_seconds = config.num_rotations * self.rotation_seconds
        return training_seconds + rotation_seconds + num_evaluations * self.evaluation_seconds + self.final_seconds


def measure_costs(options: Options, data: Mapping[str, FactorImages], *, device: str) -> dict[str, Cost]:
    """Measure the costliest trial of each data set, by images and objective, and return the costs by data set.

    Each trains for three seconds, is scored once, and saves one checkpoint.

    Raises:
        InputError: If a trial cannot be trained: its loss is not finite, or it does not fit into memory.
    """
    return {
        name: _measure_or_refuse(config, options, data, device=device)
        for name, config in _costliest_configs(options).items()
    }


def _measure_or_refuse(config: TrialConfig, options: Options, data: Mapping[str, FactorImages], *, device: str) -> Cost:
    try:
        return _measure(
            config,
            data[config.dataset.name],
            evaluation=options.evaluation,
            device=device,
            num_threads=options.resources.cpus_per_trial,
        )
    except (NonFiniteLossError, *_SIZE_ERRORS) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"The largest trial must train for the estimate, but with {describe_config(config)} and batch size "
            f"{config.batch_size} it failed: {reason}"
        ) from error


def _measure(config: TrialConfig, data: FactorImages, *, evaluation: Evaluation, device: str, num_threads: int) -> Cost:
    prepare_process(num_threads=num_threads)
    run = TrainingRun.start(replace(config, rotate_until=0, starts=1), data, device=device)
    run.advance(2)  # warm up: the first steps initialise and compile
    start, first_step = time.perf_counter(), run.step
    while time.perf_counter() - start < _CALIBRATION_SECONDS:
        run.advance(2)
    images_per_second = (run.step - first_step) * config.batch_size / (time.perf_counter() - start)
    start = time.perf_counter()
    if config.rotate_until:
        run.rotate()
    rotation_seconds = time.perf_counter() - start
    start = time.perf_counter()
    scores = run.evaluate(evaluation.metrics, has_factors=evaluation.has_factors)
    evaluation_seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder, "checkpoint"), scores=scores, report={})
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    names = evaluation.final_of(data)
    final = metrics_of(names, dataset=config.dataset, data=data) if names else {}
    assert scores.codes is not None
    shares = [len(rows.indices) / len(scores.codes.rows) for _, rows in final.values()]
    final_seconds = evaluation_seconds * sum(shares) + sum(metric.seconds for metric, _ in final.values())
    return Cost(config, images_per_second, evaluation_seconds, rotation_seconds, final_seconds, size)


def estimate(arguments: Sequence[str]) -> str:
    """Return the time and disk space that `--dry-run` estimates, or why there is no estimate.

    The estimate runs in a separate process, which releases the GPU when it ends.
    """
    command = [sys.executable, str(Path(__file__).with_name("run.py")), *arguments, "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        return f"no estimate: {result.stderr.strip()}"
    return result.stdout.rpartition("\n\n")[2].strip()


def describe_options(options: Options) -> str:
    """Return every option with its value and origin. The origin `sweep` is the resumed sweep."""
    values = {
        name: getattr(getattr(options, group), name) for group, kind in GROUPS.items() for name in options_of(kind)
    }
    values |= options.space.axes
    rows: list[tuple[str, str, str]] = [
        (flag(name), _option_text(value), options.origins.get(name, "default")) for name, value in values.items()
    ]
    if "grace_steps" not in options.unused:
        rows.append(("grace_steps in effect", str(options.grace_steps), "decided"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}".rstrip() for name, value, origin in rows)


def describe_trials(options: Options) -> str:
    """Return the first trials, with the numbers derived from their parameters."""
    if options.search.search == "optuna":
        return "proposed during the search: optuna learns from earlier trials"
    trials, has_several = planned_trials(options), len(options.space.names_of("dataset")) > 1
    lines, configs = [], [trial.config for trial in trials]
    for trial in trials[:_NUM_LISTED]:
        dataset = f"{trial.config.dataset.name}, " if has_several else ""
        lines.append(f"{trial.index:04}  {dataset}{describe_trial(trial.config, configs)}, seed {trial.config.seed}")
    num_others = len(trials) - len(lines)
    return "\n".join([*lines, f"and {num_others} more"] if num_others else lines)


def describe_costs(options: Options, costs: Mapping[str, Cost], *, resources: Resources) -> str:
    """Return the time and disk space of the whole sweep, if no trial is stopped.

    A planned trial is priced by its own steps, batch size, objective and data set; a trial that is not planned yet, as
    the costliest of its data set.

    Args:
        options: The sweep's options.
        costs: The cost of the costliest trial of each data set.
        resources: The resources of the sweep.
    """
    num_confirming = num_confirming_trials(options) // len(options.space.names_of("dataset"))
    confirming = [cost for cost in costs.values() for _ in range(num_confirming)]
    if options.search.search == "optuna":
        (searching,) = ([cost] * num_trials(options) for cost in costs.values())
        searched = [cost.seconds for cost in searching]
    else:
        configs = [trial.config for trial in planned_trials(options)]
        searching = [costs[config.dataset.name] for config in configs]
        searched = [cost.seconds_of(config) for cost, config in zip(searching, configs, strict=True)]
    stages = searched, [cost.seconds for cost in confirming]
    seconds = sum(busy_seconds(stage, resources.num_concurrent) for stage in stages)
    disk = NUM_KEPT * sum(cost.checkpoint_bytes for cost in (*searching, *confirming))
    sizes = " and ".join(dict.fromkeys(f"{cost.checkpoint_bytes / 1e6:.1f}" for cost in costs.values()))
    return (
        f"at most {_describe_seconds(seconds)}: trials run {resources.num_concurrent} at a time and take "
        f"{_describe_range(searched)} each, if they do not slow each other\n"
        f"(measured for three seconds{' each' if len(costs) > 1 else ''}: {_describe_speeds(costs)})\n"
        f"at most {disk / 1e6:,.0f} MB: {NUM_KEPT} checkpoints of {sizes} MB per trial"
    )


def _describe_speeds(costs: Mapping[str, Cost]) -> str:
    return "; ".join(
        f"a trial of {cost.config.objective.name}{f' on {name}' if len(costs) > 1 else ''} trains "
        f"{cost.images_per_second:.0f} images/s, an evaluation takes {cost.evaluation_seconds:.1f} s, "
        f"the last {cost.evaluation_seconds + cost.final_seconds:.1f} s"
        for name, cost in costs.items()
    )


def busy_seconds(seconds: Sequence[float], num_concurrent: int) -> float:
    """Return how long trials take, of which so many run at a time, each started when another ends.

    Args:
        seconds: The time of each trial, in the order of their start.
        num_concurrent: Number of trials that run at a time.
    """
    ends = [0.0] * num_concurrent
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def describe_resources(options: Options, *, gpus_found: int) -> str:
    """Return the requested and the present resources: of this machine, or of the cluster that was joined."""
    resource_options, place = options.resources, ""
    cpus_found = available_cores()
    if resource_options.address is not None:
        cpus_found, gpus_found = cluster_cores_and_gpus()
        place = f" in the cluster at {resource_options.address}, whose speed is not measured"
    gpus, cpus = ("all" if value is None else value for value in (resource_options.num_gpus, resource_options.num_cpus))
    auto = ", one trial a GPU, since auto is not measured here" if resource_options.trials_per_gpu == "auto" else ""
    return f"GPUs {gpus} of {gpus_found}, CPU cores {cpus} of {cpus_found}{auto}{place}"


def _option_text(value: object) -> str:
    return "-" if value is None else axis_text(value)


def costliest_config(options: Options) -> TrialConfig:
    """Return the configuration with the most work."""
    return max(_costliest_configs(options).values(), key=_work)


def _costliest_configs(options: Options) -> dict[str, TrialConfig]:
    """Return the configuration of each data set with the most work."""
    costliest: dict[str, TrialConfig] = {}
    for config in _configs(options):
        known = costliest.setdefault(config.dataset.name, config)
        if _work(config) > _work(known):
            costliest[config.dataset.name] = config
    return costliest


def _configs(options: Options) -> list[TrialConfig]:
    """Return the configurations of the planned trials; of an Optuna search, the costliest corner of each branch."""
    if options.search.search != "optuna":
        return [trial.config for trial in planned_trials(options)]
    corners: list[Point] = [
        {**branch.parts, **{name: _largest(axis) for name, axis in branch.axes.items()}}
        for branch in options.space.branches()
    ]
    return [trial_config(corner, seed=0) for corner in corners]


def _work(config: TrialConfig) -> float:
    """Return the work of a trial, in images of a beta-VAE."""
    rotations = config.num_rotations * NUM_IMAGES / _TRAINED_PER_ENCODED
    images = config.num_updates * config.batch_size
    return images * config.objective.relative_cost + rotations


def _largest(axis: Axis) -> object:
    values = ends(axis)
    return max(values) if all(isinstance(value, (int, float)) for value in values) else values[0]


def _describe_range(seconds: Sequence[float]) -> str:
    least, most = _describe_seconds(min(seconds)), _describe_seconds(max(seconds))
    return most if least == most else f"{least} to {most}"


def _describe_seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
