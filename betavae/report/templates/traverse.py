"""Draw the traversal of each latent of this folder's model: `python traverse.py`, where betavae-lab is installed."""

from pathlib import Path

from betavae.records.checkpoint import load_model
from betavae.report import latent_traversal

folder = Path(__file__).parent
model = load_model(folder)
for latent in range(model.latent_size):
    path = folder / f"latent_{latent}.png"
    latent_traversal(model, dim=latent).savefig(path)  # the other latents at 0; image=... puts them at an image's code
    print(path)
