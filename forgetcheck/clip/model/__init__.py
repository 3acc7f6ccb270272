"""A CLIP in memory: its weights read, its towers built, and one forward pass."""
