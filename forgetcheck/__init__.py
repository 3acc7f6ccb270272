"""forgetcheck: did fine-tuning cripple your CLIP model?"""

__version__ = "0.1.0"
