"""The project's pages, and the blocks of code in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from repository import REPOSITORY

OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "launch/README.md", "benchmarks/README.md")
PAGES = [*OUTSIDE, *(str(path.relative_to(REPOSITORY)) for path in sorted((REPOSITORY / "docs").rglob("*.md")))]
FENCED = re.compile(r'^```(\w*)(?: title="([^"\n]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """Code in a page; with a title it is a file that the reader writes."""

    language: str
    name: str
    text: str


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text()


def blocks(page: str, language: str = "") -> list[Block]:
    found = [Block(*parts) for parts in FENCED.findall(text_of(page))]
    return [block for block in found if block.language == language or not language]


def block(page: str, language: str, containing: str) -> str:
    """Return the text of the first block with some words in it."""
    return next(block.text for block in blocks(page, language) if containing in block.text)


def commands(page: str) -> list[list[str]]:
    """Return the words of each command of a page, without the variables before it and the comment behind it."""
    lines = "\n".join(block.text for block in blocks(page, "sh")).replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines)
    return [command for words in split if (command := without_variables(words))]


def without_variables(words: list[str]) -> list[str]:
    first = next((at for at, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), len(words))
    return words[first:]


def write_files(page: str, folder: Path) -> None:
    """Write the files of a page as its reader would."""
    for block in blocks(page):
        if block.name:
            (folder / block.name).write_text(block.text)
