"""A small data set and sweep folders, for the tests of what reads them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_parts import BLOCKS, Blocks, BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DATASETS, DSprites, FactorSpace
from betavae.data.dsprites.render import PackedImages
from betavae.evaluation import evaluate
from betavae.likelihoods import Likelihood
from betavae.metrics import Scores
from betavae.models import VAE
from betavae.records.checkpoint import MANIFEST_FILE, load_model, write_checkpoint
from betavae.records.record import FORMAT
from betavae.records.sweep import Sweep, read_sweep
from betavae.records.trial import PlannedTrial
from betavae.records.weights import EARLIER_MODEL_FILE, MODEL_FILE
from betavae.selection.rules import find_rule

WriteSweep = Callable[..., Path]
MakeSweep = Callable[..., Path]

SPACE = FactorSpace(
    ("shape", "scale", "orientation", "posX", "posY"),
    (("square", "ellipse", "heart"), (0.5, 1.0), (0.0, 1.0), tuple(np.arange(8.0)), tuple(np.arange(8.0))),
    categorical=("shape",),
    position=("posX", "posY"),
    lines="shape",
)
FINGERPRINT = "0" * 64


@pytest.fixture(scope="session")
def small_data() -> DSprites:
    """3 x 2 x 2 x 8 x 8 pictures: a dot at each position, twice as wide for the second scale."""
    factors = SPACE.indices_to_factors(np.arange(SPACE.size))
    pixels = np.zeros((SPACE.size, 64, 64), np.uint8)
    for image, (_, scale, _, x, y) in zip(pixels, factors, strict=True):
        image[8 * y : 8 * y + 4 * (scale + 1), 8 * x : 8 * x + 4 * (scale + 1)] = 1
    packed: PackedImages = np.packbits(pixels.reshape(len(pixels), -1), axis=1)
    return DSprites(packed, SPACE, "rendered", FINGERPRINT)


@pytest.fixture(scope="session")
def scores(small_data: DSprites) -> Scores:
    """Real scores of the checkpoints' model, but for the KL: its third latent has collapsed."""
    return replace(evaluate(_model(), small_data, step=200), kl_nats_per_latent=(0.5, 1.0, 0.001))


@pytest.fixture(scope="session")
def scores_by_dataset(scores: Scores) -> dict[str, Scores]:
    """The same, and those of a model of coloured blocks."""
    return {"dsprites": scores, "blocks": evaluate(_model(Blocks.image_shape), Blocks(), step=200)}


def _model(image_shape: tuple[int, int, int] = (1, 64, 64), likelihood: Likelihood | None = None) -> VAE:
    """Three latents, untrained; their pictures differ, since the decoder amplifies the codes."""
    model = VAE(3, likelihood=likelihood, image_shape=image_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.decoder[0].weight.mul_(30)
    return model


@pytest.fixture(scope="session")
def write_sweep(scores_by_dataset: dict[str, Scores]) -> WriteSweep:
    """Write a sweep's folder as run.py does: trials by identifier, with what they reported and how they ended.

    A trial of the data set `blocks` needs the fixture `blocks`.

    An identifier of digits is the trial's number; any other has the number of its place.
    """

    def write(
        folder: Path,
        trials: dict[str, dict[str, Any]],
        *,
        confirming: dict[str, dict[str, Any]] | None = None,
        outcome: str | None = None,
        rank_by: str | None = None,
    ) -> Path:
        folder.mkdir()
        record: dict[str, Any] = {
            "format": FORMAT,
            "command": "python sweeps/run.py",
            "data": {"dsprites": {"source": "rendered", "sha256": FINGERPRINT}},
        }
        if any(trial.get("dataset") == "blocks" for trial in trials.values()):
            record["data"]["blocks"] = {"source": Blocks.source, "sha256": Blocks.fingerprint}
        if rank_by is not None:
            record["options"] = {"search": {"rank_by": rank_by}}
        if outcome is not None:
            record["outcome"] = {"search": outcome}
        (folder / "sweep.json").write_text(json.dumps(record))
        for stage, those in (("search", trials), ("confirm", confirming or {})):
            for place, (identifier, trial) in enumerate(those.items()):
                index = int(identifier) if identifier.isdecimal() else place
                scores = scores_by_dataset[trial.get("dataset", "dsprites")]
                _write_trial(folder / stage / f"trial_{identifier}", index=index, scores=scores, **trial)
        return folder

    return write


@pytest.fixture(scope="session")
def reported(small_data: DSprites, tmp_path_factory: pytest.TempPathFactory, write_sweep: WriteSweep) -> Path:
    """The report of a sweep with a trial for each way to end: it is only looked at."""
    from betavae.report.write import write_report
    from sweeps.search.importance import importances

    trials = {
        "best": {"migs": [0.2, 0.5], "beta": 8.0},
        "good": {"migs": [0.4], "beta": 4.0, "seed": 1, "stopped": True},
        "fair": {"migs": [0.3, 0.2], "beta": 4.0, "seed": 2},
        **{f"mid{i}": {"migs": [0.2 + 0.01 * i], "beta": 2.0 + i, "lr": 1e-4 * (1 + i)} for i in range(7)},
        "poor": {"migs": [0.1], "beta": 1.0},
        "lost": {"migs": [], "beta": 16.0, "error": "NonFiniteLossError: <b>the loss</b>"},
    }
    folder = write_sweep(tmp_path_factory.mktemp("reported") / "study", trials, outcome="done")
    output = folder / "report"
    sweep = read_sweep(folder)
    write_report(
        sweep, output, data={"dsprites": small_data}, num_best=1, importances={"dsprites": importances(sweep.trials)}
    )
    return output


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    """A second data set, known for one test."""
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)
    return Blocks()


@pytest.fixture
def two_datasets(make_sweep: MakeSweep, blocks: Blocks) -> Path:
    """A sweep over two data sets: two settings with two seeds on each, of which one of each is confirmed.

    Scores of blocks are higher than those of dSprites, and the settings are in the other order.
    """
    migs = {
        ("dsprites", 4.0): (0.10, 0.12), ("dsprites", 8.0): (0.20, 0.22),
        ("blocks", 4.0): (0.70, 0.72), ("blocks", 8.0): (0.60, 0.62),
    }  # fmt: skip
    tried = [(name, beta, seed, pair[seed]) for (name, beta), pair in migs.items() for seed in range(2)]
    trials = {
        f"{index:04}": {"dataset": name, "beta": beta, "seed": seed, "migs": [0.01, mig]}
        for index, (name, beta, seed, mig) in enumerate(tried)
    }
    new_seeds = {
        f"{1000 * place + seed:04}": {"dataset": name, "beta": beta, "seed": 500_000 + seed, "migs": [0.05, mig]}
        for place, (name, beta, mig) in enumerate((("dsprites", 8.0, 0.15), ("blocks", 4.0, 0.65)))
        for seed in range(2)
    }
    return make_sweep(trials, confirming=new_seeds, outcome="done")


@pytest.fixture
def make_sweep(write_sweep: WriteSweep, tmp_path: Path) -> MakeSweep:
    """The same, in a folder of the test's own."""
    return lambda trials, **outcome: write_sweep(tmp_path / "study", trials, **outcome)


def chosen(sweep: Sweep, score: str = "mig_exact") -> Sweep:
    """Return a sweep with the scores that choose its models, as the report has it."""
    from sweeps.choosing import compared_trials, selection_of

    rule = find_rule(score)
    return sweep.with_selection(selection_of(rule, rule.choose(compared_trials(sweep.trials, rule)).scores))


def as_earlier(folder: Path) -> Path:
    """Rewrite a checkpoint, or the checkpoints and record of a sweep, as format 1 has them, and return the folder."""
    for manifest in folder.rglob(MANIFEST_FILE):
        torch.save(load_model(manifest.parent).state_dict(), manifest.with_name(EARLIER_MODEL_FILE))
        manifest.with_name(MODEL_FILE).unlink()
        sums = json.loads(manifest.read_text())
        del sums[MODEL_FILE]
        content = manifest.with_name(EARLIER_MODEL_FILE).read_bytes()
        manifest.write_text(json.dumps(sums | {EARLIER_MODEL_FILE: hashlib.sha256(content).hexdigest()}))
    for record in folder.glob("sweep*.json"):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 1}))
    return folder


def _write_trial(
    folder: Path,
    *,
    index: int,
    scores: Scores,
    migs: list[float],
    error: str | None = None,
    stopped: bool = False,
    exact: float | None = None,
    **values: Any,
) -> None:
    """A trial that is scored every 100 of its steps, with a checkpoint of its best, and `mig_exact` of its end."""
    defaults = {"latent_size": 3, "lr": 1e-3, "steps": 200, "eval_every": 100}
    config = TrialConfig.from_dict(({} if "objective" in values else {"beta": 4.0}) | defaults | values)
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(PlannedTrial(index, config).to_dict()))
    factors = BLOCKS.names if values.get("dataset") == "blocks" else SPACE.names
    reports = [_report(100 * count, mig, factors) for count, mig in enumerate(migs, start=1)]
    if "images" in values:
        reports = [report | _own_rows(report["mig"] / 2) for report in reports]
    if exact is not None:
        reports[-1] |= {"mig_exact": exact, **{f"mig_exact/{name}": exact for name in factors}}
    (folder / "result.json").write_text("".join(json.dumps(report) + "\n" for report in reports))
    if stopped:
        (folder / "outcome.json").write_text('{"status": "stopped"}')
    if error is not None:
        (folder / "error.txt").write_text(f"Traceback\n{error}\n")
    if migs:
        best = migs.index(max(migs))
        write_checkpoint(
            folder / f"checkpoint_{best:06}",
            config=config,
            model=_model(config.dataset.image_shape, config.likelihood),
            training={},
            scores=scores.with_scores({"mig": replace(scores["mig"], value=max(migs))}),
            report=reports[best],
            earlier=reports[:best],
            samples={},
        )


def _report(step: int, mig: float, factors: tuple[str, ...]) -> dict[str, Any]:
    losses = {"loss/total_nats": 130.0, "loss/recon_nats": 120.0, "loss/kl_nats": 2.5, "images_per_second": 600.0}
    return {"step": step, "mig": mig, **{f"mig/{name}": mig for name in factors}, "active_units": 3, **losses}


def _own_rows(mig: float) -> dict[str, Any]:
    """What a trial reports too that was trained on the first images: there is one shape there, and one scale."""
    gaps = {name: 0.0 if name in ("shape", "scale") else mig / 0.6 for name in SPACE.names}
    return {"mig_seed_study": mig, **{f"mig_seed_study/{name}": gap for name, gap in gaps.items()}}
