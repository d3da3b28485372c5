"""Tables of trials on the terminal."""

from dataclasses import replace
from pathlib import Path

from toy_parts import Blocks, BlocksDataset, WholeSprites

from betavae.config import TrialConfig
from betavae.records.trial import Trial
from betavae.report.confirmation import confirmed
from betavae.report.seed_study import Reproduced
from sweeps.loggers.terminal_log import _describe_config
from sweeps.options.command_line import parse_options
from sweeps.tables import (
    Results,
    _describe_scored,
    _describe_shared,
    format_confirmation_table,
    format_seed_study_table,
    format_table,
)


def trial(index: int, mig: float, objective: str, *, seed: int = 0, loss: str = "kl_nats", **values: object) -> Trial:
    config = TrialConfig.from_dict(
        {"objective": objective, "steps": 1, "eval_every": 1, "lr": 1e-3, "seed": seed, **values}
    )
    report = {"step": 1, "mig": mig, "active_units": 3, "loss/kl_nats": 2.5, f"loss/{loss}": 2.5}
    return Trial(f"{index:04}", index, Path("study/search"), config, (report,))


MIXED = [
    trial(0, 0.3, "factor-vae", gamma=40.0, loss="tc_nats"),
    trial(1, 0.2, "factor-vae", gamma=10.0, loss="tc_nats"),
    trial(2, 0.1, "annealed-vae", gamma=10.0, c_max=5.0, loss="capacity_nats"),
    trial(3, 0.0, "beta-vae", beta=4.0),
]


def test_several_objectives_have_one_column_of_parameters_and_the_losses_of_all() -> None:
    header, first, _, third, last = (line.split("  ") for line in format_table(MIXED, root=Path("study")).splitlines())
    names = [name.strip() for name in header if name.strip()]
    assert names == ["mig", "objective", "parameters", "z", "lr", "step", "active", "kl", "best checkpoint"]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in (first, third, last)]
    assert [row[1:3] for row in cells] == [
        ["factor-vae", "gamma 40"],
        ["annealed-vae", "gamma 10, c max 5, capacity steps 100000"],
        ["beta-vae", "beta 4"],
    ]


def test_one_objective_has_a_column_of_each_parameter_and_of_derived_numbers() -> None:
    header, row = format_table(MIXED[3:], root=Path("study")).splitlines()
    assert header.split() == ["mig", "beta", "beta_norm", "z", "lr", "step", "active", "kl", "best", "checkpoint"]
    assert row.split() == ["0.0000", "4", "0.009766", "10", "0.001", "1", "3", "2.50", "-"]


def test_a_confirmation_of_several_objectives_has_its_configurations_in_their_rows() -> None:
    """Fails if the cells of the search's trials are taken for those of the confirmed configurations."""
    confirming = [trial(1000, 0.4, "beta-vae", beta=8.0, seed=5), trial(1001, 0.5, "factor-vae", gamma=40.0, seed=5)]
    table = format_confirmation_table(confirmed(MIXED, confirming), MIXED)
    first, second = (line for line in table.splitlines() if "0.500" in line or "0.400" in line)
    assert first.split()[5:8] == ["factor-vae", "gamma", "40"]
    assert second.split()[4:8] == ["-", "beta-vae", "beta", "8"]  # the search has no score of it


def test_the_seed_study_names_the_objective_where_there_are_several() -> None:
    gaps = {"mig": 0.1, "shape": 0.0, "scale": 0.0}
    studies = [Reproduced(each.config, (each,), {}, own_rows=gaps, whole_set=gaps) for each in MIXED[1:]]
    assert "objective beta-vae, beta 4, latent size 10, lr 0.001, 1 seed" in format_seed_study_table(studies)
    assert "objective" not in format_seed_study_table(studies[-1:])


def test_a_line_of_a_trial_leaves_out_what_its_objective_does_not_have() -> None:
    line = _describe_config(MIXED[3].config, ("objective", "beta", "gamma", "c_max"))
    assert line.split() == ["objective", "beta-vae", "beta", "4", "z", "10", "lr", "0.001"]


def test_the_lines_of_trials_have_the_same_order_where_one_trial_has_a_default() -> None:
    """Fails if fields that vary, but that the trial's own line would not have, come first."""
    plain = MIXED[3].config
    rotated = replace(plain, rotate_until=plain.steps, rotate_every=plain.steps)
    lines = [_describe_config(config, ("rotate_until",)).split() for config in (plain, rotated)]
    assert lines[0] == [*lines[1][:-1], "0"]


def on_blocks(of_dsprites: Trial) -> Trial:
    return replace(of_dsprites, config=replace(of_dsprites.config, dataset=BlocksDataset()))


def test_each_data_set_has_its_tables_and_its_best() -> None:
    """Fails if the best of all is called best: it is of blocks."""
    trials = [
        *MIXED[2:],
        on_blocks(trial(4, 0.9, "beta-vae", beta=4.0)),
        on_blocks(trial(5, 0.8, "beta-vae", beta=8.0)),
    ]
    new_seed = trial(0, 0.05, "beta-vae", beta=4.0, seed=5)
    dsprites, blocks = Results.by_dataset(("dsprites", "blocks"), trials, [new_seed])
    of_dsprites, of_blocks = (part.tables(root=Path("study")).splitlines() for part in (dsprites, blocks))
    assert of_dsprites[:2] == ["", "dsprites"]
    assert of_blocks[:2] == ["", "blocks"]
    assert [line.split()[0] for line in of_dsprites[2:5]] == ["mig", "0.1000", "0.0000"]
    assert "confirmation: mig at the end of training" in "\n".join(of_dsprites)
    assert [line.split()[0] for line in of_blocks[2:]] == ["mig", "0.9000", "0.8000"]
    assert dsprites.best().startswith("best       dsprites, objective beta-vae, ")
    assert blocks.best().startswith("best       blocks, 0004, mig 0.900, selected with labels (median final score ")


def test_one_data_set_is_not_named() -> None:
    (part,) = Results.by_dataset(("dsprites",), MIXED, [])
    assert part.tables(root=Path("study")) == format_table(MIXED, root=Path("study"))
    assert part.best().startswith("best       0000, mig 0.300, ")
    (empty,) = Results.by_dataset(("dsprites",), [], [])
    assert (empty.tables(root=Path("study")), empty.best()) == ("no trial has a score", "")


def test_the_plan_counts_the_scored_images_of_each_data_set() -> None:
    """72 images of blocks are all that there are."""
    sprites = WholeSprites()
    assert _describe_scored({"dsprites": sprites}) == "10,000 images of the whole data set"
    assert _describe_scored({"dsprites": sprites, "blocks": Blocks()}) == (
        "10,000 images of the whole dsprites and 72 images of the whole blocks"
    )


def test_the_plan_says_whether_latents_are_rotated() -> None:
    lines = [
        _describe_shared(parse_options(f"--steps 9000 -b 16 {words}".split(), gpus_found=0))
        for words in ("", "--rotate-until 2000", "--rotate-until 0 2000")
    ]
    assert lines[0].endswith("9000 steps of 16 images")
    assert lines[1:] == [f"{lines[0]}, latents rotated until step 2000", lines[0]]


def test_the_plan_says_among_how_many_starts_a_trial_chooses() -> None:
    words = (
        "",
        "--starts 1",
        "--starts 3",
        "--starts 3 --start-steps 500",
        "--starts 3 --start-steps 9 99",
        "--starts 1 3",
    )
    lines = [_describe_shared(parse_options(f"--steps 9000 -b 16 {each}".split(), gpus_found=0)) for each in words]
    assert lines[1:] == [
        lines[0],
        f"{lines[0]}, the best of 3 starts by the loss at step 2000",
        f"{lines[0]}, the best of 3 starts by the loss at step 500",
        f"{lines[0]}, the best of 3 starts by the loss",
        lines[0],
    ]
