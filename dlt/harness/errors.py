"""The errors that the command line tells in one line."""


class InputError(ValueError):
    """Bad input by the user.

    The message is one line naming the field, its value and what is allowed; the command line prints it
    and exits with code 2, before any training.
    """


class RunTaken(InputError):
    """Another process, of this machine or of one that shares the store, trains the run now."""


class RunFailed(RuntimeError):
    """Runs that others wait for have failed; which, and why, has been said."""


class ProcessLost(RuntimeError):
    """Another process of a run over several has ended; what it was is for that process, or torchrun, to say."""
