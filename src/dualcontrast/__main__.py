"""`python -m dualcontrast`, as torchrun starts it."""

from dualcontrast.cli import main

main()
