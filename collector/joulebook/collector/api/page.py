"""The page at / and its files. It asks nothing of anyone but this collector."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FILES_PATH = "/static"
_FILES = Path(__file__).parent / "static"
_PAGE = _FILES / "index.html"


def install_page(app: FastAPI) -> None:
    """Serve the page and its files."""
    app.mount(FILES_PATH, StaticFiles(directory=_FILES), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        """Show the page."""
        return FileResponse(_PAGE)
