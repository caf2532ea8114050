"""`python -m ganlab` is `ganlab`."""

from ganlab.cli import main

main()
