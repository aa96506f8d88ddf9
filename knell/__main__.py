"""`python -m knell`: the command line."""

from knell.cli.main import main

if __name__ == "__main__":
    main()
