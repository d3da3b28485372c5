"""The command: sweep VAEs over a space of configurations, and rank them by a score that can be trusted."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # first: what is imported below takes seconds, and may be installed from another checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from sweeps.interrupts import begin_script

    script_interruption = begin_script()

from betavae.data import DATASETS, FactorImages, data_environment
from betavae.errors import InputError
from betavae.extensions import load_extensions
from betavae.files import is_disk_full
from betavae.process import available_cores
from betavae.records.sweep import name_in_sweep
from betavae.records.trial import ranked
from betavae.report.confirmation import confirmed
from betavae.report.seed_study import reproduced
from betavae.text import one_line, printable
from sweeps.analyze import analyze
from sweeps.cluster import (
    Resources,
    available_gpus,
    check_shared,
    decide_resources,
    join_cluster,
    quiet_ray,
    resources_of_cluster,
)
from sweeps.dry_run import (
    describe_cost,
    describe_options,
    describe_resources,
    describe_trials,
    estimate,
    measure_cost,
)
from sweeps.interrupts import Interruption, starting_ray
from sweeps.options.command_line import parse_options
from sweeps.options.options import Options
from sweeps.printing import say
from sweeps.search.plan import num_confirming, num_trials
from sweeps.storage.locations import check_location, resolved
from sweeps.storage.mirror import Mirror
from sweeps.storage.sweep_folder import SweepFolder, check_destination
from sweeps.tables import (
    describe_best,
    describe_curves,
    describe_data,
    describe_number,
    describe_plan,
    format_confirmation_table,
    format_seed_study_table,
    format_table,
)
from sweeps.temporary import check_temporary_folder

if TYPE_CHECKING:
    from sweeps.stages import StageResults

DONE, FAILED, BAD_INPUT = 0, 1, 2

_BUG_FILE = "bug.txt"
"""The traceback of an error that is a bug of this program, in the sweep's folder."""


def main(arguments: Sequence[str] | None = None, *, interruption: Interruption | None = None) -> int:
    """Run a sweep as the command line asks; return its exit code.

    Args:
        arguments: The words after the command's name; those of this process if None.
        interruption: What this process's signals go to, if something takes them already.
    """
    interruption = interruption or Interruption()
    arguments = sys.argv[1:] if arguments is None else arguments
    return interruption.run(lambda: _run_checked(arguments, interruption=interruption))


def _run_checked(arguments: Sequence[str], *, interruption: Interruption) -> int:
    try:
        return _run(arguments, interruption=interruption)
    except (InputError, OSError) as error:
        say(f"error: {one_line(str(error))}", file=sys.stderr)
        return BAD_INPUT


def _run(arguments: Sequence[str], *, interruption: Interruption) -> int:
    """Check what is asked for, make the folder, and sweep.

    Raises:
        InputError: If something is asked for that cannot be; then nothing has been started.
        OSError: If something cannot be written; then nothing has been started.
    """
    load_extensions()
    gpus_found = available_gpus()
    options = parse_options(arguments, gpus_found=gpus_found)
    options.check()
    if options.sweep.loggers is not None:
        from sweeps.loggers import check_loggers  # late: it takes seconds

        check_loggers(options.sweep.loggers)
    check_location(options.sweep.resume or options.sweep.results)
    os.environ.update(data_environment())  # absolute, so that trials, which run in other folders, open the same
    if options.resources.address is None:
        check_temporary_folder()
    if options.sweep.dry_run:
        return dry_run(options, gpus_found=gpus_found)
    resources = _find_resources(options, gpus_found=gpus_found)
    if options.resources.address is not None:
        check_shared(Mirror.at(resolved(options.sweep.resume or options.sweep.results)))
    data = open_data(options)
    open_folder = SweepFolder.create if options.sweep.resume is None else SweepFolder.resume
    if options.sweep.preset == "full" and "preset" not in options.origins and not options.sweep.quiet:
        announce_full(options, arguments)
    with interruption.held():  # one that is made without its record could not be resumed
        folder = open_folder(options, data=data, arguments=arguments)
    try:
        return _sweep_held(folder, resources=resources, data=data, interruption=interruption)
    finally:
        folder.close()


def _sweep_held(
    folder: SweepFolder, *, resources: Resources, data: Mapping[str, FactorImages], interruption: Interruption
) -> int:
    """Sweep in a folder that this process holds; return the exit code, whatever happens."""
    try:
        interruption.check()
        return sweep(folder, resources=resources, data=data, interruption=interruption)
    except OSError as error:
        reason = f"The disk is full ({error}): free some space first." if is_disk_full(error) else str(error)
        say(f"error: {one_line(reason)}\ngo on with: {folder.resume_command}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        sys.stdout.flush()
        print(f"interrupted; go on with: {folder.resume_command}", file=sys.stderr, flush=True)
        os._exit(interruption.exit_code)  # at once: Ray's own ending takes seconds, and its processes end with this one
    except Exception as error:  # a bug of this program
        place = folder.keep(_BUG_FILE, printable(traceback.format_exc()))
        what = one_line(f"{type(error).__name__}: {error}")
        say(f"error: this is a bug: {what} (traceback: {place})\ngo on with: {folder.resume_command}", file=sys.stderr)
        return FAILED


def open_data(options: Options) -> dict[str, FactorImages]:
    """Open the data sets of a sweep, by name.

    Raises:
        InputError: If the files of one are missing or wrong.
        OSError: If a file cannot be read, or a cache cannot be written.
    """
    return {name: DATASETS[name]().open() for name in options.space.names_of("dataset")}


def dry_run(options: Options, *, gpus_found: int) -> int:
    """Print what a sweep would do; return the exit code.

    Raises:
        InputError: As the sweep itself would.
        OSError: As the sweep itself would.
    """
    data = open_data(options)
    location = check_destination(options, data=data)
    print(describe_options(options))
    confirming = f", then {num_confirming(options)} that confirm" if options.confirm.confirm else ""
    print(f"\n{describe_number(options)} trials{confirming}\n{describe_trials(options)}")
    resources = _find_resources(options, gpus_found=gpus_found)
    print(f"\nresources  {describe_resources(options, gpus_found=gpus_found)}")
    for name, each in data.items():
        print(f"data       {describe_data(name, each)}")
    print(f"results    {location}")
    if options.resources.address is None:
        cost = measure_cost(options, data, device="cuda" if resources.num_gpus else "cpu")
        print(f"\n{describe_cost(options, cost, resources=resources)}")
    return DONE


def announce_full(options: Options, arguments: Sequence[str]) -> None:
    """Say that days of work begin, which nobody may have wanted, and what takes minutes."""
    print(
        f"With GPUs and without --preset this is the preset full: {num_trials(options)} trials of at most "
        f"{options.max_steps:,} steps.\nFor a first look in minutes end it (Ctrl-C), and take: python sweeps/run.py "
        "--preset quick",
        flush=True,
    )
    if options.resources.address is None:
        print(f"{estimate(arguments)}\n", flush=True)


def sweep(
    folder: SweepFolder, *, resources: Resources, data: Mapping[str, FactorImages], interruption: Interruption
) -> int:
    """Print what will be done, do it, and print the ranked table; return the exit code."""
    # late: to import Ray takes a second, which a wrong option need not wait for
    from sweeps.stages import run_stages

    options, known = folder.options, folder.trials()
    if not options.sweep.quiet:
        plan = describe_plan(options, known=known.read, resources=resources, data=data, location=folder.location)
        print(plan, flush=True)
    results = run_stages(folder, known=known, data=data, resources=resources, interruption=interruption)
    trials = results.search.trials.read
    folder.note_end(results.trials, done=results.done, lost=results.lost)
    print(format_table(trials, root=folder.mirror.local))
    if reproductions := reproduced(trials):
        print(format_seed_study_table(reproductions))
    if confirmations := confirmed(trials, results.confirmation.trials.read):
        print(format_confirmation_table(confirmations))
    if interruption.signal is not None or not (all(results.done.values()) or results.lost):
        print(f"interrupted; go on with: {folder.resume_command}", file=sys.stderr)
        return interruption.exit_code
    ending = _name_failures(folder, results)
    if ranked(trials):
        print(describe_best(trials, confirmations), flush=True)
        ending = (_write_report(folder) if options.sweep.report else DONE) or ending
    say(describe_curves(folder.location))
    return ending


def _find_resources(options: Options, *, gpus_found: int) -> Resources:
    """Return what the sweep may take, of this machine or of the cluster that it joins."""
    address = options.resources.address
    quiet_ray(address=address)
    if address is None:
        return decide_resources(options.resources, cpus_found=available_cores(), gpus_found=gpus_found)
    with starting_ray():
        join_cluster(address)
    return resources_of_cluster(options.resources)


def _name_failures(folder: SweepFolder, results: StageResults) -> int:
    """Say which trials failed, could not be read or could not write, and why; return the exit code that says so."""
    failed = [trial for trial in results.trials if trial.status == "failed"]
    for trial in failed:
        say(one_line(f"error: trial {name_in_sweep(trial)} failed: {trial.error}"), file=sys.stderr)
    for why in results.lost.values():
        say(one_line(f"error: {why}"), file=sys.stderr)
    if not all(results.done.values()):
        print(f"go on with: {folder.resume_command}", file=sys.stderr)
    if not all(trial.would_recur for trial in failed):
        print(f"try them again with: {folder.resume_command} --retry-failed", file=sys.stderr)
    return FAILED if failed or results.lost else DONE


def _write_report(folder: SweepFolder) -> int:
    """Analyse the sweep as `analyze.py` does; a report that fails leaves the sweep as it is."""
    try:
        say(f"report     {analyze(folder.location, options=folder.options.report).page}")
    except (InputError, OSError) as error:
        command = shlex.join(["python", "sweeps/analyze.py", folder.location])
        say(f"error: no report: {one_line(str(error))}\nmake it with: {command}", file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main(interruption=script_interruption))
