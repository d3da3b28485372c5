"""Draw the traversal of each latent of this folder's model: `python traverse.py`, where betavae-lab is installed."""

from pathlib import Path

from betavae.config import TrialConfig
from betavae.records.checkpoint import load_model
from betavae.report import latent_traversal

folder = Path(__file__).parent
model = load_model(folder)
data = TrialConfig.read(folder / "config.json").dataset.open()
image = data.images([len(data) // 2])[0]
for latent in range(model.latent_size):
    path = folder / f"latent_{latent}.png"
    latent_traversal(model, dim=latent, image=image).savefig(path)
    print(path)
