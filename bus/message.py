"""A received bus message, its callback type, and the header block of NATS (ADR-4 of NATS)."""

from collections.abc import Callable, Mapping

import msgspec

VERSION_LINE = "NATS/1.0"  # begins a header block; the server may add a status to it, such as 503
LINE_END = "\r\n"


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as a bus callback receives it.

    subject: where it was published. data: the payload. reply: the subject that an answer goes to, "" for none.
    header_block: the headers as they travel, b"" for none; `headers` reads them.
    """

    subject: str
    data: bytes
    reply: str = ""
    header_block: bytes = b""

    @property
    def headers(self) -> Mapping[str, str] | None:
        """The headers by name, None if there are none. Parsed at each call: most receivers never ask."""
        return parse_headers(self.header_block) if self.header_block else None


Callback = Callable[[Message], None]  # called by the event loop for each message, in order; it must not block


def format_headers(headers: Mapping[str, str]) -> bytes:
    """Return the header block of a message. Raises ValueError for a line break, which would begin another header."""
    lines = "".join([f"{name}: {value}{LINE_END}" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("cannot send a header: it contains a line break. Remove the line break.")
    return f"{VERSION_LINE}{LINE_END}{lines}{LINE_END}".encode()


def parse_headers(block: bytes) -> dict[str, str] | None:
    """Return the fields of a header block, None if it has none; of a repeated name the last value counts."""
    headers: dict[str, str] = {}
    for line in block.decode(errors="replace").split(LINE_END)[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name] = value.strip()
    return headers or None
