"""The changelog in the site: CHANGELOG.md as reStructuredText, below what docs/changelog.rst says."""

import functools
import re
from pathlib import Path

_CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def to_rst(markdown):
    """Return headings, links and code of Markdown as reStructuredText; the first heading is left out."""
    text = re.sub(r"^# .*\n", "", markdown)
    text = re.sub(r"`([^`]+)`", r"``\1``", text)
    text = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", text)
    for mark, line in (("##", "-"), ("###", "~")):
        underline = functools.partial(_underline, line)
        text = re.sub(rf"^{mark} (.+)$", underline, text, flags=re.MULTILINE)
    return text


def _underline(line, heading):
    return f"{heading[1]}\n{line * len(heading[1])}"


def _append(app, docname, source):
    if docname == "changelog":
        source[0] += to_rst(_CHANGELOG.read_text())
        app.env.note_dependency(_CHANGELOG)


def setup(app):
    """Append the changelog when its page is read."""
    app.connect("source-read", _append)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
