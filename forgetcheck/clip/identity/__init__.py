"""Which model a name or bare weights are, and from what that is known."""
