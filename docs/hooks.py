"""For mkdocs: what the pages link to outside of docs/ becomes part of the site, under its path in the repository."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
GUESTS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "launch/*.md", "benchmarks/*.md", "benchmarks/pictures/*")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the guests."""
    for path in sorted(path for pattern in GUESTS for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the files of the site, where the pages and their guests share a root; records are found last."""
    if page.file.generated_by:
        if page.file.src_uri.startswith("benchmarks/"):
            # Long records have every word, also in titles, which the search holds for a thousand times as telling.
            page.meta["search"] = {"boost": 0.001}
        return re.sub(r"\]\(((?:\.\./)*)docs/", r"](\1", markdown)
    root = "../" * (page.file.src_uri.count("/") + 1)
    return markdown.replace(f"]({root}", f"]({root.removeprefix('../')}")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Name the theme's search for those who hear the page."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
