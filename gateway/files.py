"""The talk page's files, read once: what is not among them cannot be asked for."""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

PAGE = Path(__file__).parent / "page"
BUNDLE = "bundle"  # what `make page` brings; without it the page has the websocket alone
ROOM_CLIENT = f"{BUNDLE}/livekit-client.js"
FONTS = "fonts.css"  # names typefaces of the bundle
TYPES = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2"}


@dataclass(frozen=True)
class File:
    """A file as it is served."""

    body: bytes
    type: str
    tag: str


def read(folder: Path = PAGE) -> dict[str, File]:
    """Path below the folder -> file; `index.html` stands for the folder itself, too."""
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
    """The file, or the word that the browser has it already."""
    headers = {hdrs.ETAG: file.tag, hdrs.CACHE_CONTROL: "no-cache"}
    if request.headers.get(hdrs.IF_NONE_MATCH) == file.tag:
        return web.Response(status=304, headers=headers)
    text = file.type.startswith("text/")
    return web.Response(body=file.body, content_type=file.type, charset="utf-8" if text else None, headers=headers)
