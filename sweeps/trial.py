"""The Ray trainable: a config in, a training run advanced, scored, saved and reported."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from ray import tune

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.process import prepare_process
from betavae.training import TrainingRun


def train_trial(config: dict[str, Any]) -> None:
    """Train one trial to its end, from its latest checkpoint if it has one.

    Args:
        config: Some fields of TrialConfig, by name.
    """
    prepare_process()
    device = device_of_trial()
    data = DSprites.open()
    run = _start_or_resume(TrialConfig.from_dict(config), data, device=device)
    while run.step < run.config.steps:
        loss = run.advance(min(run.config.eval_every, run.config.steps - run.step))
        scores = evaluate(run.model, data, device=device, trained_on=run.config.images)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "checkpoint")
            run.save(folder, scores=scores)
            report = {"step": run.step, **scores.numbers(), **loss.numbers()}
            tune.report(report, checkpoint=tune.Checkpoint.from_directory(folder))


def device_of_trial() -> str:
    """The GPU that Ray gave this trial; the CPU if it gave none, or one that exists for Ray alone."""
    resources = tune.get_context().get_trial_resources()
    has_gpu = resources is not None and resources.required_resources.get("GPU", 0) > 0
    return "cuda" if has_gpu and torch.cuda.is_available() else "cpu"


def _start_or_resume(config: TrialConfig, data: DSprites, *, device: str) -> TrainingRun:
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return TrainingRun.start(config, data, device=device)
    with checkpoint.as_directory() as folder:
        return TrainingRun.load(folder, data, device=device)
