"""Trains on several processes, as torchrun would.

Usage: trained.py PROCESSES ARGUMENT ..., the arguments of `ganlab train`.
"""

import sys

import forks

from ganlab.cli import main

if __name__ == "__main__":
    number, *arguments = sys.argv[1:]
    sys.exit(any(forks.finish(*forks.job(int(number), lambda: main(["train", *arguments])))))
