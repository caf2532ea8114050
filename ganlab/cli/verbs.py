"""What every verb of the command line does with errors."""

import errno
import sys
import traceback
from typing import Any

import click

REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "name a file, not a folder",
    errno.EEXIST: "choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "choose a place that you may use",
    errno.EPERM: "choose a place that you may use",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "make room, then run the same command",
    errno.EDQUOT: "make room, then run the same command",
    errno.EMFILE: "raise the limit of open files: ulimit -n 65536",
    errno.ELOOP: "a link in the path leads to itself",
}
"""What to do about errors of the operating system that a person can mend."""


class Verb(click.Command):
    """A command with exit code 0 when done, 2 for a user's mistake, 1 for any other error, 130 for Ctrl-C."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."))

    def invoke(self, context: click.Context) -> Any:
        """Run the verb; print what a person can mend as one message."""
        debug = context.params.pop("debug")
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            code, message = told(error)
            if message is None:
                raise
            if debug:
                traceback.print_exc()
            click.echo(f"ganlab: {message}", err=True)
            sys.exit(code)


def told(error: Exception) -> tuple[int, str | None]:
    """Return the exit code and the message of an error; no message for those that are ours to mend."""
    from ganlab.types import UserError

    if isinstance(error, UserError | FloatingPointError):
        return (2 if isinstance(error, UserError) else 1), str(error)
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        what = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror or error}"
        remedy = REMEDIES.get(error.errno or 0)
        return (2, f"{what}; {remedy}") if remedy else (1, f"{what} (--debug shows where)")
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):  # torch's, on GPU and CPU
        return 1, (
            f"out of memory: {str(error).splitlines()[0]}; halve train.micro_batch, or train.batch, or see "
            "train.checkpoint_blocks and machine.shard"
        )
    return 1, None


class Verbs(click.Group):
    """A group of verbs."""

    command_class = Verb
