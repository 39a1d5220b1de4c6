"""The description of the package for PyPI: the README without links and pictures that only work in the repository."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = r"\((?!https?:)[^)]+\)"


class Description(MetadataHookInterface):
    """Sets ``readme``."""

    def update(self, metadata):
        """Leave out relative pictures, and of relative links keep the text."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = re.sub(rf"!\[[^]]*\]{_RELATIVE}\n*", "", text)
        text = re.sub(rf"\[([^]]+)\]{_RELATIVE}", r"\1", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
