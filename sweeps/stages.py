"""A sweep's stages, one after the other: the search, then the confirmation of its best."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from betavae.analysis.results import CONFIRM_FOLDER, SEARCH_FOLDER, num_ended
from sweeps.board import Board
from sweeps.cluster import Resources, running_ray
from sweeps.folder import SweepFolder
from sweeps.interrupts import Interruption
from sweeps.progress import TrialLog
from sweeps.search import Stage, confirmation_stage, run_stage, search_stage
from sweeps.trial import train_trial


def run_stages(folder: SweepFolder, *, resources: Resources, interruption: Interruption) -> dict[str, bool]:
    """Run what has not ended, in one Ray, which is not started for nothing; say of each stage whether all has ended."""
    options, count = folder.options, folder.options.confirm.confirm
    plans: dict[str, Callable[[], Stage]] = {
        SEARCH_FOLDER: lambda: search_stage(options, folder.search, num_known=len(folder.trials()))
    }
    if count is not None:  # what is confirmed is known only when the search has ended
        plans[CONFIRM_FOLDER] = lambda: confirmation_stage(options, folder.confirmation, folder.choose(count))
    done = dict.fromkeys(plans, False)
    with ExitStack() as stack:
        is_running = False
        for name, plan in plans.items():
            stage = plan()
            if not _has_ended(folder, stage):
                if not is_running:
                    _start_ray(folder, stack, resources=resources)
                    interruption.watch()
                    is_running = True
                _run(folder, stage, resources=resources)
            done[name] = _has_ended(folder, stage)
            if not done[name]:
                break
    return done


def _start_ray(folder: SweepFolder, stack: ExitStack, *, resources: Resources) -> None:
    folder.note_resources(stack.enter_context(running_ray(resources, address=folder.options.resources.address)))


def _run(folder: SweepFolder, stage: Stage, *, resources: Resources) -> None:
    known = folder.trials(stage.folder)
    with TrialLog(stage.folder, folder.options, num_planned=len(stage.planned), known=known) as log:
        callbacks = [Board(folder.mirror, stage.folder, known=known), log]
        run_stage(stage, trainable=train_trial, known=known, resources=resources, callbacks=callbacks)


def _has_ended(folder: SweepFolder, stage: Stage) -> bool:
    return num_ended(folder.trials(stage.folder)) >= len(stage.planned)
