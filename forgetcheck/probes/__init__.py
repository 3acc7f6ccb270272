"""Ways of asking a model what it knows, one file each."""
