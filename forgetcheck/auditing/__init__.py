"""What an audit does: ask every question of base and tuned checkpoints, and keep the answers."""
