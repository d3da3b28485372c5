"""What each rule without labels says of a sweep's final models, and how far it agrees with scores with labels.

python studies/label_free.py results/methods-small --rules udr udr-lasso elbo

Prints a row for each rule and each score with labels that the final models have: Spearman's rank correlation with its
bootstrap interval, the chosen model's share of the best score, and the failed seeds: those below half of the median of
their setting. `--having mig_exact` compares only models that have this score. The rules use a GPU where there is one:
it changes the seconds, and may change a score's last digits. Put scores into the checkpoints first:

python sweeps/analyze.py results/methods-small --select udr --scores mig_exact
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's packages, not any installed ones

import torch

from betavae.errors import InputError
from betavae.metrics.registry import is_likelihood
from betavae.process import available_cores, prepare_process
from betavae.records.sweep import Sweep, read_sweep
from betavae.report.choice import RuleAgreement, agreements
from betavae.selection.rules import Among, find_rule, rule_names
from sweeps.choosing import choose_models, default_among
from sweeps.printing import input_errors_end_the_script
from sweeps.storage.mirror import Mirror

RULES = tuple(name for name in rule_names() if not find_rule(name).needs_factors)
HEADING = ("rule", "seconds", "models", "score", "rank correlation (95 %)", "chosen / best", "failed seeds caught")


def rows_of(sweep: Sweep, rule_name: str, *, among: Among, min_kl: float | None = None) -> list[list[str]]:
    """Return a row for each score with labels that the models have.

    Args:
        sweep: A sweep of one data set, with a trial or more.
        rule_name: The rule.
        among: The models that UDR compares a model with.
        min_kl: UDR leaves out latents with at most this KL, in nats; 0.01 if None.
    """
    dataset = sweep.trials[0].config.dataset
    data = {dataset.name: dataset.open()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    start = time.perf_counter()
    rule = find_rule(rule_name, among=among, min_kl=min_kl)
    selection, problems = choose_models(sweep.trials, rule, data, device=device, mirror=Mirror(sweep.folder))
    seconds = time.perf_counter() - start
    for problem in problems:
        print(problem, file=sys.stderr)
    chosen = sweep.with_selection(selection)
    return [[selection.label, f"{seconds:.0f}", *_described(agreement)] for agreement in agreements(chosen)]


def _described(agreement: RuleAgreement) -> list[str]:
    correlation, share = "not known", "not known"
    if agreement.correlation is not None and agreement.interval is not None:
        low, high = agreement.interval
        correlation = f"{agreement.correlation:.2f} ({low:.2f} to {high:.2f})"
    if agreement.share is not None:
        share = f"{agreement.chosen:.3f} / {agreement.best:.3f} = {agreement.share:.0%}"
    num_failed = len(agreement.caught) + len(agreement.missed)
    failed = f"{len(agreement.caught)} of {num_failed}, {len(agreement.false_alarms)} false alarms"
    return [str(len(agreement.trials)), agreement.column.label, correlation, share, failed]


def having(sweep: Sweep, score: str) -> Sweep:
    """Return the sweep with only the trials whose final model has a score."""
    finals = {trial.trial_id: trial.final_checkpoint for trial in sweep.trials}
    kept = [trial for trial in sweep.trials if (final := finals[trial.trial_id]) is not None and score in final.scores]
    return replace(sweep, trials=tuple(kept))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--having", metavar="SCORE")
    parser.add_argument("--udr-among", choices=get_args(Among))
    parser.add_argument("--udr-min-kl", metavar="NATS", type=float)
    options = parser.parse_args(arguments)
    prepare_process(num_threads=available_cores())
    if options.udr_min_kl is not None and not options.udr_min_kl >= 0:
        parser.error(f"--udr-min-kl must be at least 0 nats, but got {options.udr_min_kl}")
    sweep = read_sweep(options.folder)
    sweep = sweep if options.having is None else having(sweep, options.having)
    if all(trial.final_checkpoint is None for trial in sweep.trials):
        wanted = "" if options.having is None else f" with {options.having}"
        raise InputError(f"{options.folder} must hold a model{wanted} at the end of its training, but has none.")
    if len({trial.config.likelihood.name for trial in sweep.trials}) > 1:
        for name in filter(is_likelihood, options.rules):
            print(f"{name} is left out: models of several likelihoods do not compare by it.", file=sys.stderr)
        options.rules = [name for name in options.rules if not is_likelihood(name)]
    among = options.udr_among or default_among(sweep.trials)
    print(f"| {' | '.join(HEADING)} |\n{'|---' * len(HEADING)}|", flush=True)
    for name in options.rules:
        for row in rows_of(sweep, name, among=among, min_kl=options.udr_min_kl):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    with input_errors_end_the_script():
        main()
