"""Draw what each latent of the model in this folder does: `python traverse.py`, where betavae-lab is installed."""

from pathlib import Path

import numpy as np

from betavae.data import DSprites
from betavae.records.checkpoint import load_model
from betavae.report.traversals import latent_traversal

folder = Path(__file__).parent
model = load_model(folder)
image = DSprites.open().images(np.array([300_000]))[0]
for latent in range(model.latent_size):
    path = folder / f"latent_{latent}.png"
    latent_traversal(model, dim=latent, image=image).savefig(path)
    print(path)
