"""Sphinx configuration. The pages of settings and metrics are written from the program each time."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

import s3orchestrator
from s3orchestrator.app.metrics_reference import metrics_page
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


def write_reference(app: Sphinx) -> None:
    for name, text in (("configuration", reference_page()), ("metrics", metrics_page())):
        page = HERE / "reference" / f"{name}.rst"
        # Sphinx reads a page again when its file is newer.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_reference)
