"""The model side: load a CLIP, run it, keep what it saw."""
