"""Sphinx configuration. The page of settings is written from the program each time."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

import s3orchestrator
from s3orchestrator.config.reference import reference_page

HERE = Path(__file__).parent

project = "s3orchestrator"
author = "The s3orchestrator contributors"
release = version = s3orchestrator.__version__

html_theme = "furo"
html_title = f"s3orchestrator {release}"
html_copy_source = False

default_role = "literal"
highlight_language = "none"


def write_configuration(app: Sphinx) -> None:
    page = HERE / "reference" / "configuration.rst"
    text = reference_page()
    # Sphinx reads a page again when its file is newer.
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_configuration)
