"""Ways of writing a report down, one file each."""
