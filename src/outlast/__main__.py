"""`python -m outlast` runs `outlast`."""

from outlast.cli import main

main()
