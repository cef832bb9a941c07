"""`python -m vibesurf_blocks` is the command line `vibesurf-blocks`."""

from vibesurf_blocks.cli import main

if __name__ == "__main__":
    main()
