"""Every option of `--help` does something: what it changes, or the test that sees it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from betavae.config import PARTS, parameters_by_name
from betavae.data import DATASETS, DSpritesDataset
from betavae.errors import InputError
from betavae.metrics import METRICS
from sweeps.cluster import local_resources
from sweeps.options.command_line import parse_options
from sweeps.options.fields import flag, options_of
from sweeps.options.options import GROUPS, AnalysisOptions, Options, SearchOptions
from sweeps.options.recorded import options_from_dict, options_to_dict
from sweeps.search.draws import OptunaDraw
from sweeps.search.plan import planned_trials
from sweeps.search.ray_search import search_stage
from sweeps.search.stopping import stopping_rules
from sweeps.storage.mirror import Mirror
from sweeps.storage.stage_folder import StageFolder

TESTS = Path(__file__).parents[2]
BASE = "--preset full --search random --trials 6 --num-gpus 2"


def trials(options: Options) -> Any:
    """What the trials are given."""
    return planned_trials(options)


def rule(options: Options) -> Any:
    """What stops them."""
    rule = stopping_rules(options).of("dsprites")
    return type(rule), vars(rule)


def sampler(options: Options) -> Any:
    """What proposes them."""
    return type(OptunaDraw(options, num_known_trials=0)._study.sampler)


def rank_by(options: Options) -> str:
    """What ranks them."""
    return search_stage(options, StageFolder(Mirror(Path()), options.search.rank_by)).rank_by


def resources(options: Options) -> Any:
    """What they run on."""
    return local_resources(options.resources, cpus_found=4, gpus_found=2)


Seen = Callable[[Options], Any] | str

EFFECTS: dict[str, tuple[str, Seen]] = {
    "preset": ("--preset quick", trials),
    "config": ("", "test_config_file.test_a_file_gives_options_and_the_command_line_comes_first"),
    "dry_run": ("", "test_dry_run.test_it_says_everything_and_starts_and_writes_nothing"),
    "name": ("", "test_run.test_a_sweep_end_to_end"),
    "results": ("", "test_run.test_a_sweep_end_to_end"),
    "data_root": ("", "test_own_data.test_a_file_is_swept_confirmed_and_reported"),
    "resume": ("", "test_faults.test_the_driver_killed_at_four_moments"),
    "retry_failed": ("", "test_faults.test_a_trial_that_raises_is_tried_once_more_and_others_go_on"),
    "report": ("", "test_faults.test_the_driver_killed_at_four_moments"),
    "quiet": ("", "test_terminal_log.test_quiet_says_nothing"),
    "verbose": ("", "test_terminal_log.test_verbose_says_starts_and_reports_too"),
    "seed": ("--seed 1", trials),
    "address": ("", "test_rig.test_a_worker_machine_is_killed"),
    "num_gpus": ("--num-gpus 1", resources),
    "trials_per_gpu": ("--trials-per-gpu 2", resources),
    "cpus_per_trial": ("--cpus-per-trial 2", resources),
    "num_cpus": ("--num-cpus 1", resources),
    "beta": ("--beta 3", trials),
    "alpha": ("--objective beta-tcvae --alpha 3", trials),
    "gamma": ("--objective factor-vae --gamma 3", trials),
    "c_max": ("--objective annealed-vae --c-max 3", trials),
    "capacity_steps": ("--objective annealed-vae --capacity-steps 300", trials),
    "discriminator_lr": ("--objective factor-vae --discriminator-lr 1e-3", trials),
    "discriminator_layers": ("--objective factor-vae --discriminator-layers 3", trials),
    "discriminator_units": ("--objective factor-vae --discriminator-units 30", trials),
    "lambda_od": ("--objective dip-vae-i --lambda-od 3", trials),
    "lambda_d_factor": ("--objective dip-vae-i --lambda-d-factor 3", trials),
    "latent_size": ("--latent-size 3", trials),
    "lr": ("--lr 1e-5", trials),
    "search": ("--search grid --beta 1 2 3 --latent-size 3 5 --lr 1e-3", trials),
    "trials": ("--trials 7", trials),
    "sampler": ("--sampler gp", sampler),
    "repeats": ("--repeats 2", trials),
    "rank_by": ("--rank-by mig_quantile", rank_by),
    "live_scores": ("--live-scores irs sap", lambda options: options.live_scores),
    "final_scores": ("--final-scores irs", lambda options: options.evaluation),
    "scores": ("", "test_model_scores.test_the_scores_that_are_asked_for_are_taken_and_kept"),
    "dataset": ("", "test_options.test_a_part_is_chosen_by_its_name"),
    "loggers": ("", "test_ray_adapter.test_only_the_loggers_that_are_asked_for_follow"),
    "track": ("", "test_ray_adapter.test_track_adds_to_the_loggers"),
    "scheduler": ("--scheduler median", rule),
    "grace_steps": ("--grace-steps 20000", rule),
    "architecture": ("--architecture conv3", trials),
    "objective": ("--objective beta-tcvae", trials),
    "likelihood": ("--likelihood gaussian", trials),
    "pixel_scale": ("--likelihood gaussian --pixel-scale 0.3", trials),
    "learn_pixel_scale": ("--likelihood gaussian --learn-pixel-scale true", trials),
    "steps": ("--steps 200000", trials),
    "batch_size": ("--batch-size 32", trials),
    "eval_every": ("--eval-every 20000", trials),
    "images": ("--images 5000", trials),
    "data_file": ("", "test_own_data.test_a_file_is_swept_confirmed_and_reported"),
    "image_size": ("", "test_own_file.test_a_file_with_images_of_another_size_is_refused"),
    "rotate_until": ("--rotate-until 1000", trials),
    "rotate_every": ("--rotate-until 1000 --rotate-every 50", trials),
    "starts": ("--starts 3", trials),
    "start_steps": ("--starts 3 --start-steps 100", trials),
    "precision": ("--precision float32", trials),
    "compile": ("--compile", trials),
    "cuda_graph": ("--cuda-graph false", trials),
    "confirm": ("", "test_faults.test_the_driver_killed_at_four_moments"),
    "seeds": ("", "test_plan.test_the_confirmed_keep_their_seeds_when_more_are_asked_for"),
    "select": ("", "test_rules.test_udr_of_kept_codes_finds_the_odd_one"),
    "udr_among": ("", "test_rules.test_udr_among_the_seeds_of_a_setting"),
    "udr_min_kl": ("", "test_rules.test_udr_leaves_out_latents_by_the_kl_that_a_sweep_records"),
    "top": ("", "test_analyze.test_top_exact_and_output_say_how_much_and_where"),
    "exact": ("", "test_analyze.test_top_exact_and_output_say_how_much_and_where"),
    "folder": ("", "test_analyze.test_a_report_is_made_and_the_exact_score_taken_once"),
    "export": ("", "test_analyze.test_the_best_model_is_exported_with_its_card"),
    "export_optuna": ("", "test_optuna_study.test_the_command_writes_the_file_and_prints_its_name"),
    "output": ("", "test_analyze.test_top_exact_and_output_say_how_much_and_where"),
}


def test_the_table_has_every_option_and_no_other() -> None:
    options = [name for group in GROUPS for name in options_of(type(getattr(Options(), group)))]
    parameters = [name for name in parameters_by_name() if name != "seed"]
    assert set(EFFECTS) == {*options, *PARTS, *parameters, "folder", *options_of(AnalysisOptions)}


@pytest.mark.parametrize("name", [name for name, (_, seen) in EFFECTS.items() if not isinstance(seen, str)])
def test_an_option_changes_what_is_done(name: str) -> None:
    words, seen = EFFECTS[name]
    assert not isinstance(seen, str)
    changed = parse_options([*BASE.split(), *words.split()], gpus_found=0)
    before, found, _ = words.partition(flag(name))  # such as the objective that has the option
    unchanged = parse_options([*BASE.split(), *before.split()], gpus_found=0)
    assert found
    assert seen(changed) != seen(unchanged)
    assert options_to_dict(changed) != options_to_dict(unchanged)


@pytest.mark.parametrize("test", sorted({seen for _, seen in EFFECTS.values() if isinstance(seen, str)}))
def test_the_others_are_seen_by_a_test(test: str) -> None:
    module, _, name = test.partition(".")
    (path,) = TESTS.rglob(f"{module}.py")
    assert f"\ndef {name}(" in path.read_text()


def test_a_part_is_chosen_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Other(DSpritesDataset):
        name = "other"

    monkeypatch.setitem(DATASETS._parts, "other", Other)
    options = parse_options(["--dataset", "other"], gpus_found=0)
    assert {type(trial.config.dataset) for trial in planned_trials(options)} == {Other}


def test_help_says_how_long_each_live_score_takes() -> None:
    """On one core, as the metric says; those of every evaluation take no time to speak of."""
    text = options_of(SearchOptions)["live_scores"].help
    on_request = {name: metric for name, metric in METRICS.items() if metric.is_cheap and not metric.is_live}
    assert on_request
    for name, metric in on_request.items():
        assert f"`{name}` {metric.seconds:g}" in text


def test_a_record_of_an_earlier_version_takes_no_final_scores() -> None:
    """A resume of such a sweep scores its other trials as it has scored the first."""
    groups = options_to_dict(parse_options([], gpus_found=0))
    assert options_from_dict(groups).final_scores == ("mig_exact_part",)
    del groups["search"]["final_scores"], groups["report"]["select"]
    assert options_from_dict(groups).final_scores == ()


@pytest.mark.parametrize(
    ("words", "final"),
    [
        ([], ("mig_exact_part",)),
        (["--preset", "methods-small"], ("mig_exact",)),
        (["--select", "udr", "--repeats", "3"], ()),
        (["--final-scores"], ()),
        (["--final-scores", "irs", "dci"], ("irs", "dci")),
        (["--select", "mig_exact"], ("mig_exact_part", "mig_exact")),  # what chooses is taken
        (["--select", "dci", "--final-scores"], ("dci",)),
        (["--select", "mig"], ("mig_exact_part",)),
    ],
)
def test_the_exact_score_is_taken_of_final_models_unless_asked_otherwise(
    words: list[str], final: tuple[str, ...]
) -> None:
    options = parse_options(words, gpus_found=0)
    options.check()
    assert options.evaluation.final == final


@pytest.mark.parametrize("words", ["--final-scores mig_seed_study", "--select udr --repeats 3 --final-scores irs"])
def test_a_final_score_that_cannot_be_is_refused(words: str) -> None:
    with pytest.raises(InputError, match="--final-scores must be"):
        parse_options(words.split(), gpus_found=0).check()


@pytest.mark.parametrize(
    ("words", "select"),
    [
        ([], "mig_exact_part"),
        (["--preset", "full"], "mig_exact"),
        (["--final-scores", "irs", "dci"], "irs"),
        (["--final-scores", "total_correlation", "dci"], "dci"),  # of the first a lower value is better
        (["--final-scores"], None),
        (["--final-scores", "elbo", "mig_exact"], "mig_exact"),  # the first needs no labels: it is not meant to choose
        (["--rank-by", "mig"], None),
        (["--select", "mig"], "mig"),
        (["--live-scores", "mig_exact_part"], "mig_exact_part"),
    ],
)
def test_models_are_chosen_by_the_first_final_score_unless_asked_otherwise(
    words: list[str], select: str | None
) -> None:
    options = parse_options(words, gpus_found=0)
    options.check()
    assert options.report.select == select
    recorded = json.loads(json.dumps(options_to_dict(options)))
    assert options_from_dict(recorded).report.select == select  # for a resume, and the report


def test_a_record_of_an_earlier_version_chooses_as_that_version_did() -> None:
    groups = options_to_dict(parse_options([], gpus_found=0))
    del groups["search"]["final_scores"], groups["report"]["select"]
    assert options_from_dict(groups).report.select is None


def test_a_sweep_that_ranks_by_its_best_evaluations_is_resumed_as_such(make_sweep: Callable[..., Path]) -> None:
    folder = make_sweep({"a": {"migs": [0.1]}})
    record = json.loads((folder / "sweep.json").read_text())
    options = parse_options(["--rank-by", "mig"], gpus_found=0)
    (folder / "sweep.json").write_text(json.dumps(record | {"options": options_to_dict(options)}))
    assert parse_options(["--resume", str(folder)], gpus_found=0).report.select is None


@pytest.mark.parametrize(
    ("words", "eval_every"),
    [
        ("--preset methods-small", 500),
        ("--preset methods-small --steps 6000", 500),
        ("--preset methods-small --steps 100", 25),
        ("--preset methods-small --steps 100 --eval-every 50", 50),
    ],
)
def test_the_evaluations_of_a_preset_come_before_the_end_of_shorter_trials(words: str, eval_every: int) -> None:
    options = parse_options(words.split(), gpus_found=0)
    options.check()
    assert {trial.config.eval_every for trial in planned_trials(options)} == {eval_every}
