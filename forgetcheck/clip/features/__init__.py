"""What models see: one pass over images and texts, on one process or many, kept by content."""
