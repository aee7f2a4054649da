"""A page's socket and the line at ingress, tied together: a browser needs to reach no port but the gateway's."""

import asyncio

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

HEARTBEAT_S = 10.0
MAX_MESSAGE = 16 * 1024  # bytes, from a page: a text of 2,000 characters is the longest
CONNECT_WITHIN_S = 5.0
CLOSE_WITHIN_S = 1.0

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def relay(request: web.Request, url: str) -> web.WebSocketResponse:
    """Carry audio and messages both ways until either side is gone."""
    page = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False, timeout=CLOSE_WITHIN_S
    )
    await page.prepare(request)
    async with aiohttp.ClientSession() as http:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                line = await http.ws_connect(url, heartbeat=HEARTBEAT_S, timeout=_closing())
        except (aiohttp.ClientError, OSError, TimeoutError):
            await page.send_json({"type": "error", "message": "the line cannot be reached: please call again"})
            await page.close()
            return page
        halves = [asyncio.create_task(_carry(page, line)), asyncio.create_task(_carry(line, page))]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in halves:
                half.cancel()
            if page.close_code == WSCloseCode.ABNORMAL_CLOSURE:
                await http.close()  # nobody said goodbye here, so nobody does there
            await line.close()
            await page.close()
    return page


async def _carry(source: Socket, target: Socket) -> None:
    """A slow reader slows its writer, whose own bounds then hold."""
    try:
        async for message in source:
            if message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
    except ConnectionError:
        pass


def _closing() -> aiohttp.ClientWSTimeout:
    return aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN_S)
