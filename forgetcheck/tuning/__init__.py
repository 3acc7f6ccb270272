"""What tuning does: move the weights of a checkpoint on a task, near its base."""
