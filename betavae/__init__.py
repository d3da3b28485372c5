"""beta-VAEs on dSprites: the model, its training, and scores that say how they were taken."""
