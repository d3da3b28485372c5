"""Sweeps of a data set and of an objective that the report was not written for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_parts import BLOCKS_FINGERPRINT, Blocks, BlocksDataset, FreeBits

from betavae.config import TrialConfig
from betavae.data import DATASETS
from betavae.evaluation import evaluate
from betavae.models import VAE
from betavae.objectives import OBJECTIVES
from betavae.records.checkpoint import write_checkpoint
from betavae.records.record import FORMAT
from betavae.records.trial import PlannedTrial


@pytest.fixture
def toy_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put both in their tables for one test."""
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)
    monkeypatch.setitem(OBJECTIVES._parts, FreeBits.name, FreeBits)


@pytest.fixture
def make_blocks_sweep(toy_parts: None, tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep of the data set of blocks: by identifier, each trial's score and its configuration."""

    def write(trials: dict[str, dict[str, Any]], *, rank_by: str = "mig") -> Path:
        folder = tmp_path / "blocks"
        folder.mkdir()
        record = {
            "format": FORMAT,
            "data": {"blocks": {"source": "drawn", "sha256": BLOCKS_FINGERPRINT}},
            "options": {"search": {"rank_by": rank_by}},
            "outcome": {"search": "done"},
        }
        (folder / "sweep.json").write_text(json.dumps(record))
        for index, (identifier, values) in enumerate(trials.items()):
            _write_trial(folder / "search" / f"trial_{identifier}", index, rank_by, **values)
        return folder

    return write


def _write_trial(folder: Path, index: int, rank_by: str, *, score: float, **values: Any) -> None:
    config = TrialConfig.from_dict({"dataset": "blocks", "latent_size": 4, "steps": 100, "eval_every": 100} | values)
    model = VAE(4, image_shape=(3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.decoder[0].weight.mul_(30)
    scores = evaluate(model, Blocks(), step=100)
    scores = scores.with_scores({rank_by: replace(scores[rank_by], value=score)})
    report = {"step": 100, **scores.numbers(), "loss/total_nats": 50.0, "loss/kl_nats": 3.0, "loss/extra": -1.0}
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(PlannedTrial(index, config).to_dict()))
    (folder / "result.json").write_text(json.dumps(report) + "\n")
    write_checkpoint(
        folder / "checkpoint_000100", config=config, model=model, training={}, scores=scores, report=report,
        samples={"originals": np.zeros((1, 64, 64, 3), np.uint8)},
    )  # fmt: skip
