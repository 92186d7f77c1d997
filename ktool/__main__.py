"""`python -m ktool` is the same as `ktool`."""

from ktool.cli.main import main

if __name__ == "__main__":
    main()
