"""From paired answers to a verdict; no torch, no printing."""
