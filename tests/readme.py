"""The README and the pages of docs/, the Python that they show, and the commands."""

import re
import shlex

from dlt.harness.records import ROOT

PAGES = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
README = PAGES[ROOT / "README.md"]
TEXT = "\n".join(PAGES.values())
_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
_LINES = [line for language, block in _BLOCKS if not language for line in block.splitlines()]
# Each as its words, without what is said beside it, once.
COMMANDS = list(dict.fromkeys(tuple(shlex.split(line, comments=True)) for line in _LINES))


def command(*parts):
    """The one command that has these words, each as written."""
    (found,) = [words for words in COMMANDS if {*parts} <= {*words}]
    return list(found)


def python(part):
    """The one block of Python that has this part."""
    (found,) = [block for language, block in _BLOCKS if language == "python" and part in block]
    return found
