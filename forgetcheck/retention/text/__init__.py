"""Numbers and verdicts in words that every exporter and the terminal share."""
