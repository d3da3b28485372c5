"""The command `run.py`, or `betavae-sweep`: train VAEs over a search space, and rank them by a score."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # first: the imports below take seconds, and may find another checkout's packages
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from sweeps.interrupts import begin_script

    script_interruption = begin_script()

from betavae.data import FactorImages, data_environment, use_data_root
from betavae.errors import InputError
from betavae.extensions import load_extensions
from betavae.files import is_disk_full
from betavae.process import available_cores
from betavae.records.sweep import name_in_sweep
from betavae.text import one_line, printable
from sweeps.analyze import analyze
from sweeps.choosing import rated_by_score
from sweeps.cluster import (
    Resources,
    available_gpus,
    check_shared,
    cluster_resources,
    join_cluster,
    local_resources,
    quiet_ray,
)
from sweeps.dry_run import (
    costliest_config,
    describe_costs,
    describe_options,
    describe_resources,
    describe_trials,
    estimate,
    measure_costs,
)
from sweeps.gpu_sharing import measure_sharing, names_of_gpus
from sweeps.interrupts import Interruption, starting_ray
from sweeps.invocation import words_to_type
from sweeps.options.command_line import parse_options
from sweeps.options.fields import errors_naming_flags
from sweeps.options.options import Options
from sweeps.printing import print_error, print_escaped
from sweeps.search.plan import num_confirming_trials, num_trials
from sweeps.storage.locations import check_location, full_location
from sweeps.storage.mirror import Mirror
from sweeps.storage.sweep_folder import SweepFolder, check_destination
from sweeps.tables import Results, describe_curves, describe_data, describe_num_trials, describe_plan
from sweeps.temporary import check_temporary_folder

if TYPE_CHECKING:
    from sweeps.stages import StageResults

DONE, FAILED, BAD_INPUT = 0, 1, 2

_BUG_FILE = "bug.txt"
"""The file in the sweep's folder with the traceback of an unexpected exception."""


def main(arguments: Sequence[str] | None = None, *, interruption: Interruption | None = None) -> int:
    """Run the sweep that the command line describes; return the exit code.

    Args:
        arguments: The words after the command's name; None for the words of this process.
        interruption: The signal handlers, if this process has installed them already.
    """
    interruption = interruption or Interruption()
    arguments = sys.argv[1:] if arguments is None else arguments
    return interruption.run(lambda: _run_and_report_errors(arguments, interruption=interruption))


def _run_and_report_errors(arguments: Sequence[str], *, interruption: Interruption) -> int:
    try:
        return _run(arguments, interruption=interruption)
    except (InputError, OSError) as error:
        print_error(error)
        return BAD_INPUT


def _run(arguments: Sequence[str], *, interruption: Interruption) -> int:
    """Check the options, make the folder, and sweep.

    Raises:
        InputError: If an option is wrong. No trial has been started then.
        OSError: If a file cannot be written. No trial has been started then.
    """
    load_extensions()
    gpus_found = available_gpus()
    options = parse_options(arguments, gpus_found=gpus_found)
    options.check()
    check_location(options.sweep.location)
    if options.sweep.loggers or options.sweep.track:
        from sweeps.loggers import check_loggers  # late: the import takes seconds

        check_loggers(options)
    if options.sweep.data_root is not None:
        with errors_naming_flags():
            use_data_root(options.sweep.data_root)
    os.environ.update(data_environment())  # absolute paths, since trials run in other folders
    if options.resources.address is None:
        check_temporary_folder()
    if options.sweep.dry_run:
        return dry_run(options, gpus_found=gpus_found)
    resources = _find_resources(options, gpus_found=gpus_found)
    if options.resources.address is not None:
        check_shared(Mirror.at(full_location(options.sweep.location)))
    data = open_data(options)
    open_folder = SweepFolder.create if options.sweep.resume is None else SweepFolder.resume
    if options.sweep.preset == "full" and "preset" not in options.origins and not options.sweep.quiet:
        announce_full(options, arguments)
    with interruption.delay():  # a folder without its record cannot be resumed
        folder = open_folder(options, data=data, arguments=arguments)
    try:
        return _sweep_and_report_errors(folder, resources=resources, data=data, interruption=interruption)
    finally:
        folder.close()


def _sweep_and_report_errors(
    folder: SweepFolder, *, resources: Resources, data: Mapping[str, FactorImages], interruption: Interruption
) -> int:
    """Sweep in an open folder; print any error with the command that resumes the sweep; return the exit code."""
    try:
        interruption.check()
        return sweep(folder, resources=resources, data=data, interruption=interruption)
    except OSError as error:
        reason = f"The disk is full ({error}): free some space first." if is_disk_full(error) else str(error)
        print_escaped(f"error: {one_line(reason)}\nresume with: {folder.resume_command}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        sys.stdout.flush()
        print(f"interrupted; resume with: {folder.resume_command}", file=sys.stderr, flush=True)
        os._exit(interruption.exit_code)  # at once: Ray's shutdown takes seconds, and its processes end with this one
    except Exception as error:  # a bug of this program
        bug_file = folder.write_file(_BUG_FILE, printable(traceback.format_exc()))
        bug = f"{one_line(f'{type(error).__name__}: {error}')} (traceback: {bug_file})"
        print_escaped(f"error: this is a bug: {bug}\nresume with: {folder.resume_command}", file=sys.stderr)
        return FAILED


def open_data(options: Options) -> dict[str, FactorImages]:
    """Open the data sets of a sweep, by name.

    Raises:
        InputError: If files of a data set are missing or wrong, or its factors are needed and not known.
        OSError: If a file cannot be read, or a cache cannot be written.
    """
    data = {name: dataset.open() for name, dataset in options.space.datasets().items()}
    for name, images in data.items():
        if not images.has_factors:
            options.check_label_free(name)
        elif not images.factors.has_order:
            options.check_without_order(name)
    return data


def dry_run(options: Options, *, gpus_found: int) -> int:
    """Print the options, trials, resources and cost of a sweep, without running it; return the exit code.

    Raises:
        InputError: As the sweep itself would.
        OSError: As the sweep itself would.
    """
    data = open_data(options)
    location = check_destination(options, data=data)
    print(describe_options(options))
    confirmation = f", then {num_confirming_trials(options)} of the confirmation" if options.confirm.confirm else ""
    print(f"\n{describe_num_trials(options)} trials{confirmation}\n{describe_trials(options)}")
    resources = _find_resources(options, gpus_found=gpus_found)
    print(f"\nresources  {describe_resources(options, gpus_found=gpus_found)}")
    for name, images in data.items():
        print(f"data       {describe_data(name, images)}")
    print(f"results    {location}")
    if options.resources.address is None:
        costs = measure_costs(options, data, device="cuda" if resources.num_gpus else "cpu")
        print(f"\n{describe_costs(options, costs, resources=resources)}")
    return DONE


def announce_full(options: Options, arguments: Sequence[str]) -> None:
    """Print that the default preset on GPUs trains for days, and the command that takes minutes."""
    print(
        f"On GPUs the default is --preset full: {num_trials(options)} trials of at most {options.max_steps:,} steps.\n"
        "For a first result within minutes, interrupt it (Ctrl-C), and run: "
        f"{shlex.join([*words_to_type('betavae-sweep'), '--preset', 'quick'])}",
        flush=True,
    )
    if options.resources.address is None:
        print(f"{estimate(arguments)}\n", flush=True)


def sweep(
    folder: SweepFolder, *, resources: Resources, data: Mapping[str, FactorImages], interruption: Interruption
) -> int:
    """Print the plan, run the trials, print the tables and write the report; return the exit code."""
    # late: importing Ray takes a second, and a wrong option should be refused at once
    from sweeps.stages import run_stages

    options, known_trials = folder.options, folder.trials()
    resources = _share_gpus(resources, folder)
    if not options.sweep.quiet:
        plan = describe_plan(
            options, known_trials=known_trials.read, resources=resources, data=data, location=folder.location
        )
        print(plan, flush=True)
    results = run_stages(folder, known_trials=known_trials, data=data, resources=resources, interruption=interruption)
    folder.note_end(results.trials, completion=results.completion, lost_trials=results.lost_trials)
    trials = rated_by_score(results.search.trials.read, options.report)
    parts = Results.by_dataset(
        options.space.names_of("dataset"),
        trials,
        results.confirmation.trials.read,
        chosen_by=options.report.chosen_by_score,
    )
    print("\n".join(part.tables(root=folder.mirror.local) for part in parts))
    if interruption.signal is not None or not (all(results.completion.values()) or results.lost_trials):
        print(f"interrupted; resume with: {folder.resume_command}", file=sys.stderr)
        return interruption.exit_code
    exit_code = _print_failures(folder, results)
    if best_lines := list(filter(None, (part.best() for part in parts))):
        print("\n".join(best_lines), flush=True)
        exit_code = (_write_report(folder) if options.sweep.report else DONE) or exit_code
    print_escaped(describe_curves(folder.location))
    return exit_code


def _find_resources(options: Options, *, gpus_found: int) -> Resources:
    """Return the resources of this machine, or join the cluster and return its resources, as the options limit them."""
    address = options.resources.address
    quiet_ray(address=address)
    if address is None:
        return local_resources(options.resources, cpus_found=available_cores(), gpus_found=gpus_found)
    with starting_ray():
        join_cluster(address)
    return cluster_resources(options.resources)


def _share_gpus(resources: Resources, folder: SweepFolder) -> Resources:
    """Return resources with the number of trials per GPU that `--trials-per-gpu auto` measures, or measured before."""
    options = folder.options
    if options.resources.trials_per_gpu != "auto" or not resources.num_gpus:
        return resources
    most = max(1, resources.num_cpus // (resources.cpus_per_trial * resources.num_gpus))
    machine = {"gpus": names_of_gpus(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "most": most}
    number = folder.recorded_sharing(machine)
    if number is not None:
        description = f"{number} a GPU, as measured before"
    else:
        sharing = measure_sharing(costliest_config(options), most=most)
        number, description = sharing.number, sharing.describe()
        if machine["gpus"] and not sharing.has_failed:
            folder.note_sharing(machine, number)
    if not options.sweep.quiet:
        print(f"sharing    {description}", flush=True)
    return replace(resources, trials_per_gpu=number)


def _print_failures(folder: SweepFolder, results: StageResults) -> int:
    """Print which trials failed, could not be read or could not write, with reasons; return the exit code."""
    failed_trials = [trial for trial in results.trials if trial.status == "failed"]
    for trial in failed_trials:
        print_escaped(one_line(f"error: trial {name_in_sweep(trial)} failed: {trial.error}"), file=sys.stderr)
    for reason in results.lost_trials.values():
        print_escaped(one_line(f"error: {reason}"), file=sys.stderr)
    if not all(results.completion.values()):
        print(f"resume with: {folder.resume_command}", file=sys.stderr)
    if not all(trial.would_recur for trial in failed_trials):
        print(f"retry failed trials with: {folder.resume_command} --retry-failed", file=sys.stderr)
    return FAILED if failed_trials or results.lost_trials else DONE


def _write_report(folder: SweepFolder) -> int:
    """Write the report, as `analyze.py` does; return the exit code. A failure does not affect the sweep."""
    try:
        print_escaped(f"report     {analyze(folder.location, options=folder.options.report).report.page}")
    except (InputError, OSError) as error:
        command = shlex.join([*words_to_type("betavae-analyze"), folder.location])
        print_escaped(f"error: no report: {one_line(str(error))}\nwrite it with: {command}", file=sys.stderr)
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main(interruption=script_interruption))
