"""The files of weights: what is read is what was written, to the last bit, and a bad file is one sentence."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from sweep_folders import FINGERPRINT, as_earlier
from torch import nn

from betavae.config import TrialConfig
from betavae.data import DSprites
from betavae.likelihoods import Gaussian
from betavae.models import ARCHITECTURES, VAE
from betavae.records.checkpoint import CheckpointError, check_checkpoint, copy_model, load_model, write_checkpoint
from betavae.records.sweep import read_sweep
from betavae.records.weights import EARLIER_MODEL_FILE, MODEL_FILE, read_weights, stored_names, write_weights
from betavae.report.export import export_best
from sweeps.analyze import DONE, main


class Trap:
    """Unpickling this makes a file: the proof that a pickle ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(autouse=True)
def _on_small_data(small_data: DSprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DSprites, "open", lambda: small_data)


@pytest.fixture
def checkpoint(make_sweep) -> Path:
    (folder,) = make_sweep({"a": {"migs": [0.2]}}).glob("search/*/checkpoint_*")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_round_trip_to_the_last_bit(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """A VAE's convolutions are channels_last, which safetensors refuses; a learnt scale is a scalar."""
    likelihood = Gaussian(learn_pixel_scale=True)
    model = VAE(3, architecture=ARCHITECTURES[name](), likelihood=likelihood).to(dtype)
    write_weights(tmp_path / MODEL_FILE, model)
    read = read_weights(tmp_path)
    assert set(read) == set(model.state_dict())
    for key, tensor in model.state_dict().items():
        assert (read[key].dtype, read[key].shape) == (dtype, tensor.shape)
        assert torch.equal(read[key], tensor)
        assert read[key].is_contiguous()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_of_a_gpu_are_read_back_on_the_cpu(tmp_path: Path) -> None:
    model = VAE(3).cuda()
    write_weights(tmp_path / MODEL_FILE, model)
    for key, tensor in read_weights(tmp_path).items():
        assert torch.equal(tensor, model.state_dict()[key].cpu())


def test_weights_that_share_memory_are_written_under_each_name(tmp_path: Path) -> None:
    """safetensors refuses them: two names of one layer, and a part of a larger tensor."""
    layer = nn.Linear(2, 3)
    model = nn.ModuleDict({"one": layer, "two": layer})
    layer.register_buffer("part", torch.arange(10.0)[2:5])
    write_weights(tmp_path / MODEL_FILE, model)
    read = read_weights(tmp_path)
    assert torch.equal(read["one.weight"], layer.weight)
    assert torch.equal(read["two.weight"], layer.weight)
    assert read["one.part"].tolist() == [2, 3, 4]


def test_a_loaded_model_keeps_its_memory_format(checkpoint: Path) -> None:
    """Fails where the loaded tensors replace the model's: convolutions would slow down, and their last bits change."""
    weight = load_model(checkpoint).encoder[2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_weights(tmp_path / name, VAE(3, generator=torch.Generator().manual_seed(0)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def header_of(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


BAD = {
    "empty": b"",
    "text": b"not safetensors",
    "header of 2^60 bytes": (2**60).to_bytes(8, "little") + b"{}",
    "no header": header_of(),
    "beyond the end": header_of(x={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}),
    "negative": header_of(x={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}) + bytes(4),
    "another length": header_of(x={"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}) + bytes(4),
    "unknown type": header_of(x={"dtype": "Z9", "shape": [1], "data_offsets": [0, 4]}) + bytes(4),
    "a zip": b"PK\x03\x04",
    "other weights": safetensors.torch.save({"x": torch.zeros(2)}),
    "a long name": safetensors.torch.save({"x" * 100_000: torch.zeros(2)}),
}


@pytest.mark.parametrize("content", BAD.values(), ids=list(BAD))
def test_a_bad_file_is_a_checkpoint_error(content: bytes, checkpoint: Path) -> None:
    (checkpoint / MODEL_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="must hold a model, but: ") as refusal:
        load_model(checkpoint)
    text = str(refusal.value)
    assert len(text) < 700
    assert "\n" not in text
    with pytest.raises(CheckpointError, match=rf"must be whole, but: {MODEL_FILE} is not what was written\."):
        check_checkpoint(checkpoint)


def test_a_truncated_file_is_a_checkpoint_error(checkpoint: Path) -> None:
    content = (checkpoint / MODEL_FILE).read_bytes()
    for end in (4, 8, 100, len(content) // 2, len(content) - 1):
        (checkpoint / MODEL_FILE).write_bytes(content[:end])
        with pytest.raises(CheckpointError, match=rf"must hold a model, but: {MODEL_FILE} must be safetensors, but: "):
            load_model(checkpoint)


def test_weights_of_another_model_are_named(checkpoint: Path) -> None:
    write_weights(checkpoint / MODEL_FILE, VAE(4))
    with pytest.raises(CheckpointError, match=r"must hold a model, but: Error\(s\) in loading .* size mismatch for "):
        load_model(checkpoint)


@pytest.mark.parametrize("name", [MODEL_FILE, EARLIER_MODEL_FILE])
def test_a_pickle_in_place_of_weights_does_not_run(name: str, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / MODEL_FILE).unlink()
    for save in (torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap, protocol=2))):
        save({"x": Trap(tmp_path / "sprung")}, checkpoint / name)
        with pytest.raises(CheckpointError, match="must hold a model"):
            load_model(checkpoint)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((checkpoint / name).read_bytes())
    assert (tmp_path / "sprung").exists()  # the trap works


def test_weights_that_are_missing_are_named(checkpoint: Path) -> None:
    (checkpoint / MODEL_FILE).unlink()
    for read in (load_model, check_checkpoint):
        with pytest.raises(CheckpointError, match=rf"No such file or directory: '.*{MODEL_FILE}'"):
            read(checkpoint)


def test_a_checkpoint_of_an_earlier_version_is_read_and_checked(checkpoint: Path) -> None:
    written = load_model(checkpoint).state_dict()
    as_earlier(checkpoint)
    assert {path.name for path in checkpoint.glob("model.*")} == {EARLIER_MODEL_FILE}
    check_checkpoint(checkpoint)
    read = load_model(checkpoint).state_dict()
    assert all(torch.equal(read[name], tensor) for name, tensor in written.items())
    content = bytearray((checkpoint / EARLIER_MODEL_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / EARLIER_MODEL_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{EARLIER_MODEL_FILE} is not what was written"):
        check_checkpoint(checkpoint, only=(MODEL_FILE,))


def test_weights_that_the_manifest_does_not_list_are_refused(checkpoint: Path) -> None:
    """Put beside `model.pt`, they would be read in its place."""
    as_earlier(checkpoint)
    write_weights(checkpoint / MODEL_FILE, VAE(3))
    with pytest.raises(CheckpointError, match=rf"manifest\.json does not list {MODEL_FILE}"):
        check_checkpoint(checkpoint, only=(MODEL_FILE,))


def test_the_model_of_an_earlier_checkpoint_is_copied_as_safetensors(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    copy_model(checkpoint, tmp_path / "a")
    copy_model(as_earlier(checkpoint), tmp_path / "b")
    assert (tmp_path / "a" / MODEL_FILE).read_bytes() == (tmp_path / "b" / MODEL_FILE).read_bytes()
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"config.json", MODEL_FILE}


def test_a_sweep_of_an_earlier_version_is_analysed_chosen_and_exported(
    make_sweep, small_data: DSprites, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its model is the one of a new sweep."""
    folder = make_sweep({"0000": {"migs": [0.2, 0.3]}, "0001": {"migs": [0.1, 0.2], "seed": 1}})
    export_best(read_sweep(folder), tmp_path / "expected", data={"dsprites": small_data})
    as_earlier(folder)
    asked = [str(folder), "--select", "elbo", "--exact", "0", "--top", "1", "--export", str(tmp_path / "model")]
    assert main(asked) == DONE
    errors = capsys.readouterr().err
    assert "scores of 0001, model 2 of 2: elbo" in errors
    assert not any(word in errors for word in ("has no", "is not shown", "takes no part"))
    assert (tmp_path / "model" / MODEL_FILE).read_bytes() == (tmp_path / "expected" / MODEL_FILE).read_bytes()
    assert not (tmp_path / "model" / EARLIER_MODEL_FILE).exists()


def test_the_names_to_copy_are_those_of_every_version() -> None:
    assert stored_names(("codes.npz", MODEL_FILE)) == ("codes.npz", MODEL_FILE, EARLIER_MODEL_FILE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_keeps_its_reason() -> None:
    """Fails where safetensors writes the file: its error is no OSError, and a full disk would count as a bug."""
    with pytest.raises(OSError, match="No space left"):
        write_weights(Path("/dev/full"), VAE(3))


def test_weights_are_in_the_manifest(scores, tmp_path: Path) -> None:
    config = TrialConfig(latent_size=3)
    write_checkpoint(
        tmp_path / "c",
        config=config,
        model=VAE(3),
        training={},
        scores=replace(scores, data_fingerprint=FINGERPRINT),
        report={"step": 200},
        samples={},
    )
    assert MODEL_FILE in json.loads((tmp_path / "c" / "manifest.json").read_text())
