"""The one error a user can cause."""


class InputError(ValueError):
    """Bad input by the user.

    The message is one line naming the field, its value and what is allowed; the command line prints it
    and exits with code 2, before any training.
    """
