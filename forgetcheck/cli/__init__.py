"""The command line: the only code that parses, prints or exits."""
