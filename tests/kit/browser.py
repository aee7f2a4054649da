"""A person at the talk page: headless Chromium whose microphone is a WAV file.

    async with browser(wav) as chromium, chromium.visit(url, "desk") as page:
        await page.start()
        await page.until(lambda: page.said("agent"))

What it shows is kept as pictures in artefacts/page/.
"""

import asyncio
import importlib.util
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from antiphon_testing.command import ROOT
from schemas.audio import CALLER_HZ

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and importlib.util.find_spec("playwright")),
    reason="no Chromium, or no playwright to drive it: apt-get install chromium; pip install -e '.[dev]'",
)
PICTURES = ROOT / "artefacts" / "page"
FAKE_HZ = 48_000  # what Chromium's fake microphone reads
WITHIN_S = 30.0
LOOK_EVERY_S = 0.1
WIDE, TALL, PHONE = {"width": 1120, "height": 820}, {"width": 1120, "height": 980}, {"width": 360, "height": 740}

DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
SHOWN = """() => [[...document.querySelectorAll('#words .line')].map((line) => ({
  who: line.classList.contains('agent') ? 'agent' : 'caller',
  said: line.querySelector('.said').textContent.trim(),
  cut: Boolean(line.querySelector('.cut')),
  waited: line.querySelector('.falls b')?.textContent ?? '',
})), document.body.dataset.phase, document.getElementById('state').dataset.state,
document.getElementById('notice').textContent]"""


def wav(path: Path, pcm: bytes) -> Path:
    """PCM16 mono at 16 kHz as the fake microphone wants it."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768
    soundfile.write(path, soxr.resample(samples, CALLER_HZ, FAKE_HZ), FAKE_HZ, subtype="PCM_16")
    return path


class Talk:
    """The page, opened. troubles: errors in its console, a forbidden request for one. logged: all below a warning."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.lines: list[dict[str, Any]] = []
        self.state = self.notice = self.phase = ""
        self.troubles: list[str] = []
        self.logged: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._log)

    def _log(self, message: Any) -> None:
        if message.type == "error":
            self.troubles.append(message.text)
        elif message.type != "warning":
            self.logged.append(message.text)

    def said(self, who: str) -> list[str]:
        """The lines of a side as they stand in the transcript."""
        return [line["said"] for line in self.lines if line["who"] == who]

    async def start(self) -> None:
        """Press the button."""
        await self.page.click("#call")

    async def until(self, met: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Look at the page until it holds; TimeoutError tells what there was instead."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    await self.look()
                    if met():
                        return
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            told = f"{self.phase}, {self.state}, {self.notice!r}: {self.lines}; {self.troubles}"
            raise AssertionError(f"the page did not come to it: {told}") from None

    async def look(self) -> None:
        """Read the page in one step: in several, it may change in between."""
        self.lines, self.phase, self.state, self.notice = await self.page.evaluate(SHOWN)

    async def picture(self, name: str) -> None:
        """What it shows, light and dark: NAME.png and NAME-dark.png."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for scheme, file in (("dark", f"{name}-dark.png"), ("light", f"{name}.png")):
            await self.page.emulate_media(color_scheme=scheme)
            await self.page.evaluate(DRAWN)
            await self.page.screenshot(path=PICTURES / file)

    async def hang_up(self, folder: Path) -> tuple[NDArray[np.int16], NDArray[np.int16], int]:
        """End the call and save its recording: the caller's side, the agent's, and the rate."""
        await self.page.click("#call")
        async with self.page.expect_download() as saving:
            await self.page.click("#save")
        path = folder / "call.wav"
        await (await saving.value).save_as(path)
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
        return samples[:, 0], samples[:, 1], rate


class Browser:
    """A browser with its microphone."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @asynccontextmanager
    async def visit(
        self, url: str, agent: str = "", transport: str = "", *, microphone: bool = True, **options: Any
    ) -> AsyncIterator[Talk]:
        """The page, with its agents listed. microphone: whether the person allows it."""
        allowed = {"permissions": ["microphone"]} if microphone else {}
        context = await self._browser.new_context(**{"viewport": WIDE, "color_scheme": "light", **allowed, **options})
        try:
            talk = Talk(await context.new_page())
            await talk.page.goto(f"{url}?agent={agent}")
            await talk.page.wait_for_selector("#agent:not([disabled])")
            if transport:
                await talk.page.evaluate("(name) => { document.getElementById('transport').value = name }", transport)
            yield talk
        finally:
            await context.close()


@asynccontextmanager
async def browser(microphone: Path | None = None) -> AsyncIterator[Browser]:
    """Chromium. microphone: the WAV that it hears, from when it is first asked for; without one it beeps."""
    from playwright.async_api import async_playwright

    arguments = ["--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required"]
    if microphone:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield Browser(running)
        finally:
            await running.close()
