"""The statistics of paired answers. Pure: counts in, numbers out."""
