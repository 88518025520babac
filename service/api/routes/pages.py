"""The document as a page, with nothing fetched from elsewhere: it works where there is no other network."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

ASSETS = "/docs/assets"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_document() -> HTMLResponse:
    """The OpenAPI document, to read and to try out."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Plumbline",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )


def assets() -> Mount:
    """Swagger UI's own files, as the package fastapi-offline ships them; only its files are used."""
    package = find_spec("fastapi_offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("fastapi_offline is not installed")
    return Mount(ASSETS, StaticFiles(directory=Path(package.origin).parent / "static"), name="docs-assets")
