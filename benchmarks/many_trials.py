"""The driver's cost of 10 to 5,000 trials that only report, 20 times each; they have no models and no pictures.

python benchmarks/many_trials.py                  measure 10, 100, 1,000 and 5,000 trials
python benchmarks/many_trials.py --count 100      print the numbers of 100 trials alone
python benchmarks/many_trials.py --profile 100    print where the driver's time goes
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from measure import Row, main, seconds
from ray import tune

from betavae.data import DSPRITES_FACTORS, DSprites, DSpritesDataset, FactorImages
from betavae.process import available_cores
from betavae.records.sweep import read_sweep
from betavae.records.trial import Trials, num_ended
from sweeps.analyze import analyze
from sweeps.cluster import Resources, quiet_ray, running_ray
from sweeps.loggers.base import LogContext
from sweeps.loggers.ray_adapter import RayLoggers
from sweeps.options.options import Options, ReportOptions, ResourceOptions, SearchOptions, SweepOptions
from sweeps.search.ray_search import run_stage, search_stage
from sweeps.search.space import Space
from sweeps.storage.stage_folder import StageFolder
from sweeps.storage.sweep_folder import SweepFolder

COUNTS = (10, 100, 1_000, 5_000)
NUM_REPORTS = 20


def report_alone(config: dict[str, Any], *, stage_folder: StageFolder) -> None:
    """Report as often as a trial does, write the same lines, and train nothing."""
    with stage_folder.trial(config["index"]).held() as folder:
        for step in range(1, NUM_REPORTS + 1):
            mig = min(0.6, 0.001 * (config["index"] % 97) + 0.01 * step)
            report = {"step": step, "mig": mig} | {f"mig/{name}": mig for name in DSPRITES_FACTORS.names}
            report |= {"mig_quantile": mig, "active_units": 5, "images_per_second": 1000.0}
            report |= {"loss/total_nats": 200.0, "loss/recon_nats": 150.0, "loss/kl_nats": 12.0}
            with (folder.path / "result.json").open("a") as file:
                file.write(json.dumps(report) + "\n")
            tune.report(report)


def options_of(count: int, results: Path) -> Options:
    """Return the options of a random search with an ASHA that stops no trial."""
    betas = tuple(float(value) for value in range(1, 33))
    return Options(
        sweep=SweepOptions(preset="quick", name=f"many-{count}", results=str(results)),
        resources=ResourceOptions(num_gpus=0),
        search=SearchOptions(search="random", trials=count, scheduler="asha", grace_steps=NUM_REPORTS),
        space=Space({"beta": betas, "steps": (NUM_REPORTS,), "eval_every": (1,)}).with_defaults(),
    )


def run_all(options: Options, data: Mapping[str, FactorImages]) -> dict[str, float]:
    """Do the driver's work on one sweep as `run.py` does, and return its seconds, and its memory in MB."""
    resources = Resources(num_cpus=available_cores(), num_gpus=0, trials_per_gpu=1)
    quiet_ray(address=None)
    make = SweepFolder.create if options.sweep.resume is None else SweepFolder.resume
    folder = make(options, data=data, arguments=[])
    try:
        known = folder.trials().read
        before = _own_cpu_seconds()
        stage = search_stage(options, folder.search, num_known_trials=len(known))
        context = LogContext(
            sweep=folder.mirror,
            stage=folder.search,
            options=options,
            num_trials=len(stage.indices),
            factor_names=DSPRITES_FACTORS.names,
            known_trials=tuple(known),
        )
        with running_ray(resources, address=None), RayLoggers(context) as loggers:
            duration = seconds(
                partial(
                    run_stage,
                    stage,
                    trainable=report_alone,
                    known_trials=Trials(known, {}),
                    resources=resources,
                    callbacks=[loggers],
                )
            )
        trials = folder.trials().read
        assert num_ended(trials) == len(trials) == options.search.trials
        folder.note_end(trials, completion={"search": True}, lost_trials={})
    finally:
        folder.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": duration, "cpu_seconds": _own_cpu_seconds() - before, "peak_megabytes": peak}


def measure_count(count: int) -> dict[str, float]:
    """Return every measurement of one number of trials."""
    data = {DSpritesDataset.name: DSprites.open()}
    with tempfile.TemporaryDirectory() as results, redirect_stdout(StringIO()):
        options = options_of(count, Path(results))
        numbers = run_all(options, data)
        sweep_folder = Path(results, f"many-{count}")
        numbers["folder_megabytes"] = (
            sum(path.stat().st_size for path in sweep_folder.rglob("*") if path.is_file()) / 1e6
        )
        # with one more trial: all others are read, search and scheduler learn them again, and none is run
        more = replace(
            options,
            sweep=replace(options.sweep, resume=str(sweep_folder)),
            search=replace(options.search, trials=count + 1),
        )
        numbers["resume_seconds"] = seconds(lambda: run_all(more, data))
        numbers["read_seconds"] = seconds(lambda: read_sweep(sweep_folder))
        numbers["analyze_seconds"] = seconds(lambda: analyze(str(sweep_folder), options=ReportOptions(exact=0)))
    return numbers


def measure(counts: Sequence[int] = COUNTS) -> list[Row]:
    """Return the table's rows, each measured in a process of its own."""
    measured: dict[int, dict[str, float]] = {}
    for count in counts:
        command = [sys.executable, __file__, "--count", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured[count] = json.loads(done.stdout)
    rows = [_row(count, numbers) for count, numbers in measured.items()]
    if 100 in measured and max(measured) > 100:
        last = max(measured)
        per_trial = {str(count): measured[count]["seconds"] / count for count in (100, last)}
        growth = per_trial[str(last)] / per_trial["100"]
        rows.append(Row(f"time per trial, {last:,} trials / 100", f"{growth:.2f}", "1.5", "wall time", per_trial))
    return rows


def _row(count: int, numbers: Mapping[str, float]) -> Row:
    wall, processor = (1000 * numbers[name] / count for name in ("seconds", "cpu_seconds"))
    value = f"{wall:.0f} ms a trial ({processor:.0f} ms of the driver's processor)"
    how = (
        f"{numbers['seconds']:.0f} s in all, without models and pictures; driver {numbers['peak_megabytes']:.0f} MB at "
        f"most; resumed with one more in {numbers['resume_seconds']:.1f} s; report in "
        f"{numbers['analyze_seconds']:.1f} s; folder {numbers['folder_megabytes']:.1f} MB"
    )
    return Row(f"{count:,} trials of {NUM_REPORTS} reports", value, "", how, numbers)


def _own_cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def profile_driver(count: int) -> None:
    """Print where the driver's time goes, function by function."""
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as results, redirect_stdout(StringIO()):
        options, data = options_of(count, Path(results)), {DSpritesDataset.name: DSprites.open()}
        profiler.runcall(run_all, options, data)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    if "--profile" in sys.argv:
        profile_driver(int(sys.argv[-1]))
    elif "--count" in sys.argv:
        print(json.dumps(measure_count(int(sys.argv[-1]))))
    else:
        main(measure)
