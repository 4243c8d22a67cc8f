"""`python -m serct.cli`, the same as `serct`."""

from serct.cli import main

main()
