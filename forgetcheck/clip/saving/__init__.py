"""Writing a CLIP as others load it."""
