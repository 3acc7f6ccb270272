"""`python -m forgetcheck`."""

from forgetcheck.cli.start import main

if __name__ == "__main__":
    main()
