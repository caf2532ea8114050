"""Pages of templates, in which whatever a run holds stays text."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

WEB = Path(__file__).parent / "web"
"""Folder of the templates, styles and scripts."""
TEMPLATES = Environment(
    loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def render(template: str, **facts: Any) -> str:
    """Fill a template; every fact is escaped, unless it is `Markup`."""
    return TEMPLATES.get_template(template).render(**facts)


def text_of(name: str) -> str:
    """Return a style or a script."""
    return (WEB / name).read_text()


def hash_of(text: str) -> str:
    """Return how a Content-Security-Policy names the one style or script that a page may hold."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
