"""The ONNX files of a model: the same numbers as torch's, for any number of images, and nothing of this machine."""

import importlib.util
import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from betavae.data import DSprites
from betavae.likelihoods import LIKELIHOODS
from betavae.models import ARCHITECTURES, VAE
from betavae.records.checkpoint import load_model
from betavae.records.sweep import read_sweep
from betavae.report import onnx_files
from betavae.report.export import export_best
from betavae.report.onnx_files import DECODER_FILE, ENCODER_FILE, OnnxError, write_onnx
from betavae.report.write import Report
from sweeps.analyze import DONE, main

TOLERANCE = 1e-5
"""What the docstring of `write_onnx` promises."""


@pytest.fixture(autouse=True)
def _on_small_data(small_data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DSprites, "open", lambda: small_data)


def run(path: Path, **inputs: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: values.numpy() for name, values in inputs.items()})


def cases() -> Iterator[tuple[str, str, tuple[int, int, int]]]:
    """Each architecture and each likelihood, with one channel, whose last layer is another, and with three."""
    for number, name in enumerate(ARCHITECTURES):
        for channels in (1, 3):
            yield name, list(LIKELIHOODS)[(number + channels // 2) % len(LIKELIHOODS)], (channels, 64, 64)
    yield "conv64", "bernoulli", (1, 32, 48)


@pytest.mark.parametrize(("architecture", "likelihood", "image_shape"), list(cases()))
def test_onnxruntime_gives_the_numbers_of_torch(
    architecture: str, likelihood: str, image_shape: tuple[int, int, int], tmp_path: Path
) -> None:
    """For one image and for several, other than those that the files were made with, and pixels in 0..1."""
    generator = torch.Generator().manual_seed(0)
    parts = {"architecture": ARCHITECTURES[architecture](), "likelihood": LIKELIHOODS[likelihood]()}
    model = VAE(3, **parts, image_shape=image_shape, generator=generator)
    with torch.no_grad():
        model.decoder[0].weight.mul_(30)  # so that the pixels differ, and some means are beyond 0..1
    write_onnx(tmp_path, model, torch.rand(2, *image_shape, generator=generator))
    for num_images in (1, 5):
        images = torch.rand(num_images, *image_shape, generator=generator)
        codes = torch.randn(num_images, 3, generator=generator)
        with torch.no_grad():
            posterior, expected = model.encode(images), model.pixels(codes)
        mean, logvar = run(tmp_path / ENCODER_FILE, images=images)
        (pixels,) = run(tmp_path / DECODER_FILE, codes=codes)
        for got, wanted in ((mean, posterior.mean), (logvar, posterior.logvar), (pixels, expected)):
            assert (got.dtype, got.shape) == (np.float32, tuple(wanted.shape))
            np.testing.assert_allclose(got, wanted.numpy(), rtol=TOLERANCE, atol=TOLERANCE)
        assert pixels.min() >= 0
        assert pixels.max() <= 1
        assert pixels.std() > 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    write_onnx(folder, VAE(3), torch.rand(2, 1, 64, 64))
    return folder


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        (ENCODER_FILE, {"images": ["batch", 1, 64, 64]}, {"mean": ["batch", 3], "logvar": ["batch", 3]}),
        (DECODER_FILE, {"codes": ["batch", 3]}, {"pixels": ["batch", 1, 64, 64]}),
    ],
)
def test_inputs_and_outputs_have_the_documented_names_and_shapes(
    name: str, inputs: dict[str, list[object]], outputs: dict[str, list[object]], folder: Path
) -> None:
    session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    assert {each.name: each.shape for each in session.get_inputs()} == inputs
    assert {each.name: each.shape for each in session.get_outputs()} == outputs
    onnx.checker.check_model(onnx.load(folder / name), full_check=True)


@pytest.mark.parametrize("name", [ENCODER_FILE, DECODER_FILE])
def test_no_path_and_no_code_of_this_machine_is_in_a_file(name: str, folder: Path) -> None:
    """The exporter writes a stack trace into each node."""
    content = (folder / name).read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_the_loggers_of_the_exporter_are_as_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger("torch.onnx").level
    write_onnx(tmp_path, VAE(3), torch.rand(2, 1, 64, 64))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


class Unknown(nn.Module):
    """A network with an operation that ONNX does not have."""

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(codes).repeat(1, 4096).reshape(-1, 1, 64, 64)


def test_a_network_that_onnx_cannot_express_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    model = VAE(1)
    model.decoder = Unknown()
    with pytest.raises(OnnxError, match=rf"^{DECODER_FILE} cannot be made: "):
        write_onnx(tmp_path, model, torch.rand(2, 1, 64, 64))
    assert list(tmp_path.iterdir()) == []


class OfRandomWeight(nn.Module):
    """A network that maps the same codes to other pixels at each call."""

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return codes.repeat(1, 4096).reshape(-1, 1, 64, 64) + torch.rand(())


def test_a_file_of_other_numbers_is_refused(tmp_path: Path) -> None:
    model = VAE(1)
    model.decoder = OfRandomWeight()
    with pytest.raises(OnnxError, match=rf"^{DECODER_FILE} gives another pixels than torch does: by 0\.\d+\.$"):
        write_onnx(tmp_path, model, torch.rand(2, 1, 64, 64))


def test_without_the_packages_all_else_is_exported_and_one_line_says_how(
    two_datasets: Path, blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also for several models."""
    find_spec = importlib.util.find_spec
    lost = ("onnxscript", "onnxruntime")
    monkeypatch.setattr("sweeps.analyze.write_report", lambda sweep, output, **_: Report(str(output), ()))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in lost else find_spec(name))
    assert main([str(two_datasets), "--exact", "0", "--export", str(tmp_path / "models")]) == DONE
    lines = [line for line in capsys.readouterr().err.splitlines() if "ONNX" in line]
    assert lines == [
        "warning: The export has no ONNX files, which need onnxscript and onnxruntime: 'pip install onnxscript "
        "onnxruntime', and export again."
    ]
    for name in ("dsprites", "blocks"):
        names = {path.name for path in (tmp_path / "models" / name).iterdir()}
        assert names == {"README.md", "config.json", "model.safetensors", "scores.json", "traverse.py"}
        assert "onnx" not in (tmp_path / "models" / name / "README.md").read_text()


def test_the_files_of_an_export_are_those_of_its_model(make_sweep, small_data: DSprites, tmp_path: Path) -> None:
    export = export_best(
        read_sweep(make_sweep({"a": {"migs": [0.2]}})), tmp_path / "model", data={"dsprites": small_data}
    )
    assert export.problems == ()
    images = small_data.images(range(0, len(small_data), 100))
    with torch.no_grad():
        expected = load_model(tmp_path / "model").encode(images).mean
    np.testing.assert_allclose(
        run(tmp_path / "model" / ENCODER_FILE, images=images)[0], expected.numpy(), rtol=TOLERANCE, atol=TOLERANCE
    )


def test_an_export_without_onnx_files_says_why(
    make_sweep, small_data: DSprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OnnxError(f"{DECODER_FILE} cannot be made: no such operation")

    monkeypatch.setattr("betavae.report.export.write_onnx", fail)
    sweep = read_sweep(make_sweep({"a": {"migs": [0.2]}}))
    export = export_best(sweep, tmp_path / "model", data={"dsprites": small_data})
    assert export.problems == (
        f"The exported model has no ONNX files: {DECODER_FILE} cannot be made: no such operation",
    )
    assert "onnx" not in export.cards[0].read_text()


def test_the_packages_are_those_of_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = [name.partition(">")[0] for name in project["optional-dependencies"]["onnx"]]
    assert extra == list(onnx_files.PACKAGES)
