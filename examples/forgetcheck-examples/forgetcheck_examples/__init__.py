"""One extension of forgetcheck of each kind. Imports nothing, so that `forgetcheck list` stays fast."""
