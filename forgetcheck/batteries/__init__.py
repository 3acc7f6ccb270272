"""Batteries: lists of tasks as a person writes them, checked before anything is asked."""
