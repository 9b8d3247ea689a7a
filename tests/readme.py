"""The README, the Python that it shows, and the commands."""

import re
import shlex

from dlt.harness.records import ROOT

README = (ROOT / "README.md").read_text()
_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
_LINES = [line for language, block in _BLOCKS if not language for line in block.splitlines()]
# Each as its words, without what is said beside it.
COMMANDS = [shlex.split(line, comments=True) for line in _LINES]


def command(*parts):
    """The one command that has these words, each as written."""
    (found,) = [words for words in COMMANDS if {*parts} <= {*words}]
    return found


def python(part):
    """The one block of Python that has this part."""
    (found,) = [block for language, block in _BLOCKS if language == "python" and part in block]
    return found
