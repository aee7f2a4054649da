"""The talk page's files, read once at start: no other path is ever served."""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

PAGE = Path(__file__).parent / "page"
BUNDLE = "bundle"  # made by `make page`; without it the page has the websocket only
ROOM_CLIENT = f"{BUNDLE}/livekit-client.js"
FONTS = "fonts.css"  # names the bundle's typefaces
TYPES = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2"}


@dataclass(frozen=True)
class File:
    """A file as the gateway serves it."""

    body: bytes
    type: str
    tag: str


def read(folder: Path = PAGE) -> dict[str, File]:
    """Return path below the folder -> file; the empty path is `index.html`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            body = path.read_bytes()
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            tag = hashlib.sha256(body).hexdigest()[:32]
            found[path.relative_to(folder).as_posix()] = File(body, kind, f'"{tag}"')
    found[""] = found["index.html"]
    if not any(name.startswith(f"{BUNDLE}/") for name in found):
        found[FONTS] = File(b"", TYPES[".css"], '"none"')
    return found


def answer(file: File, request: web.Request) -> web.Response:
    """Return the file, or 304 if the browser has it already."""
    headers = {hdrs.ETAG: file.tag, hdrs.CACHE_CONTROL: "no-cache"}
    if request.headers.get(hdrs.IF_NONE_MATCH) == file.tag:
        return web.Response(status=304, headers=headers)
    text = file.type.startswith("text/")
    return web.Response(body=file.body, content_type=file.type, charset="utf-8" if text else None, headers=headers)
