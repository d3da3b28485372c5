"""Six trials on two cores: by our sweep, by a shell loop over the usual script, and by the same training without Ray.

python benchmarks/sweep.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measure import REPOSITORY, Row, main, processes, seconds

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.objectives import BetaVAE
from betavae.process import available_cores, prepare_process
from betavae.training import TrainingRun

BETAS = (1, 2, 4, 6, 8, 10)
STEPS = 600
NUM_WORKERS = 2
_SHELL_SHARE = 3
"""The shell loop is measured on one of so many of its runs, which all cost the same."""


def run_ours(results: str) -> None:
    """Run the sweep's command, without the report."""
    betas = " ".join(map(str, BETAS))
    options = (
        f"--objective beta-vae --beta {betas} -z 10 --lr 1e-3 --batch-size 64 --steps {STEPS} --scheduler none "
        f"--num-gpus 0 --num-cpus {NUM_WORKERS} --results {results} --name ours --no-report"
    )
    _run([sys.executable, str(REPOSITORY / "sweeps" / "run.py"), *options.split()])


def run_shell_loop(betas: Sequence[int]) -> None:
    """Run one script after the other, each with torch's own threads."""
    for beta in betas:
        script = REPOSITORY / "benchmarks" / "plain_loop.py"
        _run([sys.executable, str(script), "--beta", str(beta), "--steps", str(STEPS)])


def train_all(betas: tuple[int, ...], folder: str) -> None:
    """Train, score and save one trial after the other in this process, as a trial of the sweep does."""
    data = DSprites.open()
    for beta in betas:
        every = STEPS // 4
        config = TrialConfig(objective=BetaVAE(beta=beta), steps=STEPS, eval_every=every)
        run = TrainingRun.start(config, data)
        while run.step < STEPS:
            run.advance(every)
            run.save(Path(folder, f"{beta}-{run.step}"), scores=run.evaluate(), report={})


def run_without_ray(folder: str) -> None:
    """Train the same trials, split among as many processes as the sweep has workers."""
    names = [str(number) for number in range(NUM_WORKERS)]
    with processes(dict.fromkeys(names, prepare_process)) as pools:
        futures = [
            pool.submit(train_all, BETAS[number::NUM_WORKERS], folder) for number, pool in enumerate(pools.values())
        ]
        for future in futures:
            future.result()


def measure() -> list[Row]:
    """Return the table's rows."""
    with tempfile.TemporaryDirectory() as folder:
        bare = seconds(partial(run_without_ray, f"{folder}/bare"))
        ours = seconds(partial(run_ours, folder))
    betas = BETAS[: len(BETAS) // _SHELL_SHARE]
    shell = _SHELL_SHARE * seconds(partial(run_shell_loop, betas))
    how = f"{len(BETAS)} trials of {STEPS} steps of 64 on {available_cores()} cores, start-up and scores included, once"
    raw = {"ours": ours, "without_ray": bare, "shell_loop": shell}
    return [
        Row("six trials, shell loop", f"{shell:.0f} s", "", f"{how}: {len(betas)} of them, times {_SHELL_SHARE}", raw),
        Row("six trials, our sweep", f"{ours:.0f} s", "", f"{how}; bfloat16 if the processor has it", {}),
        Row("shell loop / our sweep", f"{shell / ours:.2f}", "2.5", "", {}),
        Row("six trials, without Ray", f"{bare:.0f} s", "", f"{how}; {NUM_WORKERS} processes", {}),
        Row("the sweep's share", f"{1 - bare / ours:.1%}", "5 %", "Ray's start, scheduling, reports, TensorBoard", {}),
    ]


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not re.match("OMP_|MKL_", name)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


if __name__ == "__main__":
    main(measure)
