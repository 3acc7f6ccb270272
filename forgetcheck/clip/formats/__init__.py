"""The formats CLIPs are saved in, one file per family. None of them runs what it reads."""
