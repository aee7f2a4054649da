"""The relay between a page's websocket and ingress: a browser needs to reach the gateway's port only."""

import asyncio

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

HEARTBEAT_S = 10.0
MAX_MESSAGE = 16 * 1024  # bytes, from a page: a text of 2,000 characters is the longest
CONNECT_WITHIN_S = 5.0
CLOSE_WITHIN_S = 1.0

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def relay(request: web.Request, url: str) -> web.WebSocketResponse:
    """Relay audio and messages both ways until either side disconnects."""
    page = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False, timeout=CLOSE_WITHIN_S
    )
    await page.prepare(request)
    async with aiohttp.ClientSession() as http:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                ingress = await http.ws_connect(url, heartbeat=HEARTBEAT_S, timeout=_closing())
        except (aiohttp.ClientError, OSError, TimeoutError):
            await page.send_json({"type": "error", "message": "cannot reach ingress: please call again"})
            await page.close()
            return page
        halves = [asyncio.create_task(_carry(page, ingress)), asyncio.create_task(_carry(ingress, page))]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in halves:
                half.cancel()
            if page.close_code == WSCloseCode.ABNORMAL_CLOSURE:
                await http.close()  # the page broke off without a goodbye, so ingress gets none either
            await ingress.close()
            await page.close()
    return page


async def _carry(source: Socket, target: Socket) -> None:
    """Copy messages one at a time: a slow reader slows its writer, whose own bounds then hold."""
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
