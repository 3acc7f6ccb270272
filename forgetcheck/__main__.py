"""`python -m forgetcheck`."""

from forgetcheck.cli.main import main

if __name__ == "__main__":
    main()
