"""The version, where every room can read it: nothing but the front door is imported from above."""

__version__ = "0.1.0"
