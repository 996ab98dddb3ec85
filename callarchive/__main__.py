"""`python -m callarchive`: the command line."""

from callarchive.cli import main

if __name__ == "__main__":
    main()
