"""The tiny CLIP that ships with the package: weights, config, card, and how they were made."""
