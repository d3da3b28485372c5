"""The command line: what it refuses, in which words, and where each option comes from."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from betavae.errors import InputError
from sweeps.options.command_line import parse_analysis_options, parse_options
from sweeps.options.options import Options
from sweeps.search.plan import num_trials, planned_trials
from sweeps.search.space import Range


def parse(words: str, *, gpus_found: int = 0) -> Options:
    options = parse_options(words.split(), gpus_found=gpus_found)
    options.check()
    return options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--beta x",
            "--beta must be a number or points such as 1@0,16@2000, several of these, or a range",
        ),
        ("--beta", "--beta must be a value, several values, or a range LOW..HIGH, but got nothing."),
        (
            "--beta 1@0,",
            "--beta must be a number or points such as 1@0,16@2000, but got '1@0,'.",
        ),
        ("--beta 4 1@9,2@3", "--beta must have points whose steps rise from 0 or above, but got '1@9,2@3'."),
        ("--beta 4@0", "--beta must have two points or more, but got '4@0'; for one value throughout, write 4."),
        ("--lr 1@0,0@9", "--lr must be positive and finite at every point, but got '1@0,0@9'."),
        ("--beta 4 1@0,2@9 1@0,2.0@9", "--beta must name each value once, but got 4 1@0,2@9 1@0,2@9."),
        ("--beta 1@0..16", "--beta must be a number or points such as 1@0,16@2000, several of these, or a range"),
        (
            "--steps 10 99 --eval-every 5 --beta 4 1@0,16@50",
            "--beta must end at step 10, the trial's last, or before, but '1@0,16@50' ends at step 50.",
        ),
        (
            "--latent-size 5@0,10@9",
            "--latent-size must be a whole number, several numbers, or a range LOW..HIGH, but got '5@0,10@9'.",
        ),
        (
            "--latent-size 3.5",
            "--latent-size must be a whole number, several numbers, or a range LOW..HIGH, but got '3.5'.",
        ),
        ("--beta 0", "--beta must be positive and finite, but got 0.0."),
        ("--beta 1 inf", "--beta must be positive and finite, but got inf."),
        ("--beta 4 4", "--beta must name each value once, but got 4 4."),
        ("--beta 5..1 --search random --trials 3", "--beta must be a range LOW..HIGH with LOW below HIGH"),
        (
            "--beta 1..2",
            "--search grid needs values, but --beta is the range 1..2; give values, or give --search random.",
        ),
        ("--search random", "--search random needs --trials, the number of configurations to draw."),
        ("--trials 99", "--trials must be at most 8, the number of points of the grid, but got 99; to train each"),
        ("--trials 0", "--trials must be in 1 .. 500000, but got 0."),
        ("--trials 9 --repeats 2", "--trials must be at most 8, the number of points of the grid, but got 9."),
        (
            "--search random --trials 17 --repeats 2 -z 5..8 --beta 4 10",
            "--trials must be at most 16 with --repeats, the number of configurations, but got 17.",
        ),
        (
            "--search optuna --trials 4 --repeats 2 -z 2..4 --beta 4 --lr 1e-3",
            "--trials must be at most 3 with --repeats, the number of configurations, but got 4.",
        ),
        *(
            (f"--final-scores {name}", f", but got {name!r}.")
            for name in ("udr", "udr-lasso", "cross-mig", "model-centrality", "paper")
        ),
        ("--objective foo", "--objective must be one of beta-vae, beta-tcvae, "),
        ("--objective foo", ", but got 'foo'."),
        ("--objective dip-vae-i -b 1 8", "--batch-size must be at least 2 for dip-vae-i, which compares the images"),
        ("--compile maybe", "--compile must be true or false, but got 'maybe'."),
        ("--scheduler best", "--scheduler must be one of none, asha, median, hyperband, percentile, but got 'best'."),
        ("--num-cpus many", "--num-cpus must be a whole number, but got 'many'."),
        (
            "--eval-every 900 --steps 100",
            "--eval-every must be at most steps (100), or no score is taken, but got 900.",
        ),
        ("--rank-by mig_seed_study", "--rank-by must be one of mig, mig_quantile, mig_exact_part, "),
        ("--rank-by mig_seed_study", ", but got 'mig_seed_study'."),
        ("--rank-by total_correlation", ", but got 'total_correlation'."),
        ("--rank-by dci", ", but got 'dci'."),
        ("--live-scores dci", ", but got 'dci'; analyze.py --scores takes it of trained models."),
        ("--live-scores mog", ", but got 'mog'."),
        ("--scores mog", "--scores must be some of mig, mig_quantile, "),
        ("--scores mog", ", all, but got 'mog'."),
        ("--select best", "--select must be one of udr, udr-lasso, cross-mig, model-centrality, mig, "),
        ("--select total_correlation", ", but got 'total_correlation'."),
        ("--select mig_seed_study", ", but got 'mig_seed_study'."),
        ("--udr-among all", "--udr-among needs --select udr or udr-lasso; leave it out, or give that too."),
        ("--udr-min-kl 0.1", "--udr-min-kl needs --select udr or udr-lasso; leave it out, or give that too."),
        ("--udr-min-kl 0.1 --select elbo", "--udr-min-kl needs --select udr or udr-lasso"),
        ("--select udr --udr-min-kl -1", "--udr-min-kl must be in 0 .. 100, but got -1.0."),
        ("--select udr --udr-min-kl nan", "--udr-min-kl must be in 0 .. 100, but got nan."),
        ("--select udr --udr-min-kl few", "--udr-min-kl must be a number, but got 'few'."),
        ("--udr-min-kl 0.1 --select cross-mig", "--udr-min-kl needs --select udr or udr-lasso"),
        ("--udr-among all --select elbo", "--udr-among needs --select udr or udr-lasso"),
        ("--select udr --udr-among setting", "--udr-among setting needs --repeats of 2 or more, but got 1."),
        ("--select udr --udr-among some", "--udr-among must be one of setting, all, but got 'some'."),
        (
            "--select udr --rank-by mig",
            "--rank-by must be one of elbo with --select udr, which looks at no factor, but got 'mig'.",
        ),
        (
            "--select model-centrality --live-scores irs",
            "--live-scores must be some of active_units, total_correlation, elbo with --select model-centrality, which "
            "looks at no factor, but got 'irs'.",
        ),
        (
            "--likelihood bernoulli gaussian --rank-by elbo",
            "--rank-by elbo needs one --likelihood, since likelihoods of different kinds do not compare, but got "
            "bernoulli gaussian.",
        ),
        ("--likelihood bernoulli gaussian --select elbo", "--select elbo needs one --likelihood, since"),
        ("--likelihood bernoulli gaussian --select udr", "--rank-by elbo needs one --likelihood, since"),
        ("--pixel-scale 0.1", "--pixel-scale needs --likelihood gaussian, but got bernoulli; leave"),
        ("--likelihood gaussian --pixel-scale 0", "--pixel-scale must be positive and finite, but got 0.0."),
        ("--likelihood", "--dataset, --architecture, --likelihood and --objective need one or several names."),
        ("--bata 4", "--bata is not an option (did you mean --beta?); --help lists all options."),
        ("4", "4 is not an option; --help lists all options."),
        ("--name", "argument --name: expected one argument; --help lists all options."),
        ("--seeds 3", "--seeds 3 needs --confirm"),
        ("--no-report --scores irs", "--scores needs --report; leave it out, or give that too."),
        ("--no-report --top 3", "--top needs --report; leave it out, or give that too."),
        ("--no-report --exact 2", "--exact needs --report; leave it out, or give that too."),
        ("--retry-failed", "--retry-failed needs --resume"),
        ("--quiet --verbose", "--quiet and --verbose exclude each other; give one of them."),
        ("--name a/b", "--name must be a folder's name of letters, digits"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(words: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        planned_trials(parse(words))


def test_several_values_and_ranges_of_any_parameter() -> None:
    options = parse("--batch-size 16 32 --architecture burgess conv3 --objective beta-vae beta-tcvae --beta 1 4")
    assert num_trials(options) == 2 * 2 * 2 * 2 * 2 * 2  # the preset has two sizes and two learning rates
    assert len({trial.config for trial in planned_trials(options)}) == 64
    drawn = parse("--search random --trials 50 --steps 100..200 --precision float32 bfloat16 --lr 1e-4..1e-3")
    assert drawn.space.axis("steps") == Range(100, 200)
    assert {trial.config.precision for trial in planned_trials(drawn)} == {"float32", "bfloat16"}
    assert len({trial.config.steps for trial in planned_trials(drawn)}) > 20


def test_no_exact_score_may_be_asked_for_without_a_report() -> None:
    assert parse("--no-report --exact 0").report.exact == 0


def test_a_grid_has_none_of_a_presets_number_of_trials(tmp_path: Path) -> None:
    words = "--preset full --search grid --beta 1 4 --lr 1e-3"
    asked = parse(words)
    assert (asked.search.trials, num_trials(asked)) == (None, 6)
    assert "trials" not in asked.origins
    assert num_trials(parse(f"{words} --trials 5")) == 5
    (tmp_path / "study.toml").write_text('search = "optuna"\ntrials = 20\nbeta = [1, 4]\nlr = 1e-3\nlatent_size = 5')
    assert num_trials(parse(f"--config {tmp_path}/study.toml --search grid")) == 2
    assert num_trials(parse(f"--config {tmp_path}/study.toml --search random")) == 20


@pytest.mark.parametrize("rule", ["udr", "udr-lasso", "cross-mig", "model-centrality", "elbo"])
def test_a_choice_without_labels_looks_at_no_factor_unless_told(rule: str) -> None:
    options = parse(f"--select {rule}")
    options.check()
    assert options.search.rank_by == "elbo"
    assert options.evaluation.has_factors is False
    assert options.evaluation.metrics == ("live", "elbo")


@pytest.mark.parametrize("words", ["", "--select mig", "--select mig_exact --rank-by mig_quantile"])
def test_a_choice_with_labels_ranks_as_it_is_told(words: str) -> None:
    options = parse(words)
    options.check()
    assert options.search.rank_by == ("mig_quantile" if "quantile" in words else "mig")
    assert options.evaluation.has_factors is True
    assert options.evaluation.metrics == ("live",)


def test_a_flag_may_stand_alone() -> None:
    assert parse("--compile").space.axis("compile") == (True,)
    assert parse("--compile true false").space.axis("compile") == (True, False)
    assert not parse("--no-report").sweep.report


def test_every_option_has_its_origin() -> None:
    """A value that is the name of an option is not an option."""
    options = parse("--name beta --lr 1e-3")
    assert options.origins["name"] == options.origins["lr"] == "command line"
    assert options.origins["beta"] == "preset"
    assert "seed" not in options.origins


@pytest.mark.parametrize(
    ("words", "gpus_found", "preset"),
    [
        ("", 0, "quick"),
        ("", 2, "full"),
        ("--num-gpus 0", 2, "quick"),
        ("--address auto --num-gpus 4", 0, "full"),
        ("--preset seed-study", 2, "seed-study"),
        ("--preset methods", 0, "methods"),
        ("--preset methods-small", 2, "methods-small"),
    ],
)
def test_the_preset_follows_from_the_gpus(words: str, gpus_found: int, preset: str) -> None:
    assert parse(words, gpus_found=gpus_found).sweep.preset == preset


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", ["run.py", "analyze.py"])
def test_help_fits_the_terminal_and_is_written_in_sentences(command: str, width: int) -> None:
    done = subprocess.run(
        [sys.executable, f"sweeps/{command}", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": str(width)},
    )
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    pairs = [pair for pair in zip(lines, lines[1:], strict=False) if all(line.startswith(" " * 15) for line in pair)]
    assert pairs
    ragged = [line for line, after in pairs if len(line) + len(after.split()[0]) + 1 < width - 2]
    assert not ragged  # the first word of each line did not fit on the line before


def test_the_analysis_has_options_of_its_own() -> None:
    options = parse_analysis_options(["results/x", "--top", "5", "--output", "there"])
    assert (options.folder, options.report.top, options.report.exact, str(options.output)) == (
        "results/x",
        5,
        None,
        "there",
    )
    with pytest.raises(InputError, match="required: FOLDER"):
        parse_analysis_options([])


def test_the_help_gives_the_default_of_each_owner_where_they_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Fails if the default of the first owner is shown as that of all."""
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "(dip-vae-i, dip-vae-ii) Default: 10 (dip-vae-i), 1 (dip-vae-ii)." in text
    assert "`factor-vae`: Weight of the total correlation." in text
    assert "Default: 1000 (annealed-vae), 35 (factor-vae)." in text
    assert "should have 128 images or more. A value may change over training, " in text
    assert "points: 4@0,1@2000. Default: 4." in text
