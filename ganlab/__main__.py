"""The program: `ganlab`, and `python -m ganlab`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a word also while Python still imports it."""
    try:
        from ganlab.cli import main as verbs

        verbs()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
