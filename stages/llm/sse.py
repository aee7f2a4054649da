"""Server-sent events, as the WHATWG standard defines them, from the bytes of a response. Pure.

The decoders at hand do not fit: openai's ends the stream at an event without data, httpx2's drops the comments by which
a server that is still thinking shows that it lives.
"""

import re

MAX_EVENT = 256_000  # bytes; a chunk of a chat completion has some hundred
_FIELD = re.compile(rb"[\x20-\x7e\t]*")  # any name, also of a field that the standard does not know
_LINE_END = re.compile(rb"\r\n|\n|\r")


class TooLong(Exception):
    """An event is longer than MAX_EVENT: this is no stream of chat completions."""


class Corrupt(Exception):
    """A line is no field: bytes were lost or added, and the words of the event beside it may be among them."""


class SseDecoder:
    """Decodes one stream. Where the network cuts it makes no difference."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._size = 0

    def feed(self, received: bytes) -> list[str]:
        """Return the data of every event that `received` completes. Raises TooLong or Corrupt.

        Comments, ids, retry times and event names are read and dropped: bytes alone are a sign of life.
        """
        lines = _LINE_END.split(self._rest + received)
        self._rest = lines.pop()
        if received.endswith(b"\r"):  # the "\n" that belongs to it may be the next byte
            self._rest = lines.pop() + b"\r" if not self._rest else self._rest
        events = []
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
        if self._size + len(self._rest) > MAX_EVENT:
            raise TooLong
        return events

    def flush(self) -> list[str]:
        """Return the event that the end of the stream left without its blank line: some servers forget it."""
        event = self._line(self._rest.removesuffix(b"\r")) if self._rest else None
        self._rest = b""
        last = self._line(b"")
        return [one for one in (event, last) if one is not None]

    def _line(self, line: bytes) -> str | None:
        if not line:
            data, self._data, self._size = self._data, [], 0
            return "\n".join(data) if data else None
        field, _, value = line.partition(b":")
        if not _FIELD.fullmatch(field):
            raise Corrupt
        if field == b"data":
            self._size += len(value)
            self._data.append(value.removeprefix(b" ").decode(errors="replace"))
        return None
