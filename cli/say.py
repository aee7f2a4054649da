"""Run `antiphon say`: make a recording of what a caller says, with the local voice."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Failed, WrongUse

MAX_TEXT = 2_000  # characters; two minutes of speech
MAX_AFTER_S = 60.0  # no greeting is longer


def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the caller says, in English.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The recording: a WAV file, 16 kHz mono.")],
    after: Annotated[
        float, typer.Option(min=0, max=MAX_AFTER_S, metavar="SECONDS", help="Silence first, for the greeting.")
    ] = 4.5,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Make a recording of what a caller says, with the local voice.

    `antiphon call` takes any recording; this is for machines without a microphone. The recording begins with
    silence, in which the agent of the call says its greeting: 4.5 s is enough for the receptionist's.

    Example: antiphon say "When are you open on Saturday?" --out question.wav
    """
    if not 0 < len(text.strip()) <= MAX_TEXT:
        raise WrongUse(f"cannot say {len(text.strip())} characters: give 1 to {MAX_TEXT:,}")
    if find_spec("hibari") is None:
        raise Failed("cannot say anything: the local voice is not installed. Run pip install -e '.[local]'.")
    from cli import processes
    from cli.audiofile import BadAudio, check_writable, read_pcm, write_wav
    from cli.demo_voice import speak
    from schemas.audio import CALLER_HZ, SAMPLE_BYTES, ms_to_bytes

    check_writable(out)
    with tempfile.TemporaryDirectory(prefix="antiphon-say-") as folder:
        (made,) = processes.run(speak([text.strip()], Path(folder)))
        try:
            sound = read_pcm(made)
        except BadAudio:  # it holds no samples
            raise Failed("cannot say this: the local voice makes no sound of it. Write English words.") from None
    recording = bytes(ms_to_bytes(after * 1000, CALLER_HZ)) + sound
    write_wav(out, iter([recording]), CALLER_HZ)
    seconds = len(recording) / SAMPLE_BYTES / CALLER_HZ
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"to": str(out), "seconds": round(seconds, 3)}).decode())
    else:
        typer.echo(f"{out}: {seconds:.1f} s. Now: antiphon call {out} --agent receptionist")
