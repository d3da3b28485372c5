"""The Ray trainable: a config in, a training run advanced, scored, saved and reported."""

from __future__ import annotations

import errno
from typing import Any

import ray
import torch
from ray import tune

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.evaluation import evaluate
from betavae.process import prepare_process
from betavae.training import NonFiniteLossError, TrainingRun
from sweeps.search_folder import SearchFolder
from sweeps.trial_folder import MAX_DEATHS, MAX_ERRORS, LostTrialError, TrialFolder


class TrialDiedError(RuntimeError):
    """A trial whose process has died again and again at one place, with no exception that would say why."""


def train_trial(config: dict[str, Any], *, search_folder: SearchFolder) -> None:
    """Train one trial to its end, from its latest whole checkpoint if it has one.

    What is wrong with the trial itself is written down in its folder, and the trial ends: to Ray it has not failed. So
    Ray may start a trial again as often as machines are lost.

    Args:
        config: Some fields of TrialConfig, by name.
        search_folder: Where the trials are kept.
    """
    prepare_process()
    with search_folder.trial(config["seed"]).held() as folder:
        try:
            _train(TrialConfig.from_dict(config), folder)
        except (NonFiniteLossError, TrialDiedError) as error:
            folder.fail(error)
        except LostTrialError:
            raise  # the folder is no longer this process's
        except Exception as error:  # whatever it is, the first time it is raised to Ray, which starts a new process
            if folder.note_error(error) < MAX_ERRORS:
                raise
            folder.fail(_explained(error))


def device_of_trial() -> str:
    """The GPU that Ray gave this trial; the CPU if it gave none, or one that exists for Ray alone."""
    resources = tune.get_context().get_trial_resources()
    has_gpu = resources is not None and resources.required_resources.get("GPU", 0) > 0
    return "cuda" if has_gpu and torch.cuda.is_available() else "cpu"


def _train(config: TrialConfig, folder: TrialFolder) -> None:
    data, device = DSprites.open(), device_of_trial()
    run = _start_or_resume(config, folder, data, device=device)
    while run.step < config.steps:
        loss = run.advance(min(config.eval_every, config.steps - run.step))
        scores = evaluate(run.model, data, device=device, trained_on=config.images)
        report = {"step": run.step, **scores.numbers(), **loss.numbers()}
        folder.commit(run, scores=scores, report=report)
        tune.report(report)


def _start_or_resume(config: TrialConfig, folder: TrialFolder, data: DSprites, *, device: str) -> TrainingRun:
    checkpoint = folder.resume_point()
    reports = folder.reports()
    step = reports[-1]["step"] if reports else 0
    deaths = folder.note_start(step=step, node=ray.get_runtime_context().get_node_id())
    if deaths >= MAX_DEATHS:
        raise TrialDiedError(
            f"The trial's process died {deaths} times after step {step} on one machine, without an error of its own: "
            "was it out of memory? Give it more, or a smaller batch size."
        )
    if checkpoint is None:
        return TrainingRun.start(config, data, device=device)
    tune.report(reports[-1])  # the process may have died between writing it and saying it
    return TrainingRun.load(checkpoint, data, device=device)


def _explained(error: Exception) -> Exception:
    """The error, in words where the system's own mislead."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        explained = OSError(
            f"The disk is full ({error}). The trial's earlier checkpoints are intact: free some space, then use "
            "--resume with --retry-failed."
        )
        explained.__cause__ = error
        return explained
    return error
