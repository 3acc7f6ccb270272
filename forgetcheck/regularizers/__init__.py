"""Ways of staying near the base while tuning, one file each."""
