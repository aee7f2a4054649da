"""Every product file has a test file of the mirrored name, or stands here with the test that covers it.

`bus/kv.py` has `tests/bus/test_kv.py`, `stages/llm/turns.py` has `tests/llm/test_turns.py`, and so has a provider of
llm. The tests of the kit are in `tests/testing/`.
"""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.workshop.test_tree import ROOT, sources

FOLDERS = {"stages": "", "providers": "", "antiphon_testing": "testing"}  # folder -> folder of its tests, if another

# pattern of files -> why they have no test file of their name
EXCEPTIONS = {
    "*/errors.py": "exceptions without logic",
    "antiphon_testing/bus.py": "fixtures of tests/bus",
    "antiphon_testing/command.py": "runs the commands of tests/e2e",
    "antiphon_testing/platform.py": "runs the platform of tests/runtime/test_worker.py",
    "antiphon_testing/processes.py": "runs the platform of tests/e2e/test_up.py",
    "antiphon_testing/room_*.py": "server and caller of tests/transports/livekit",
    "antiphon_testing/simulated_caller.py": "makes the calls of tests/e2e/voice",
    "antiphon_testing/sounds.py": "writes the recordings of tests/e2e/test_surfaces.py",
    "antiphon_testing/speech.py": "human speech for tests/e2e/voice and tests/stt",
    "antiphon_testing/stage.py": "opens the sessions of every test_stage.py",
    "antiphon_testing/*/*": "stand-ins of vendors and suites, which the tests of the providers use",
    "bus/connection.py": "tests/bus/test_connect.py",
    "cli/campaign.py": "tests/cli/test_agent.py",
    "cli/config_access.py": "tests/cli/test_agent.py",
    "cli/number.py": "tests/cli/test_agent.py",
    "cli/versions.py": "tests/cli/test_agent.py",
    "cli/demo*.py": "`make demo` is a step of the CI; tests/cli/test_say.py covers the voice",
    "cli/dispatch.py": "tests/e2e/test_up_rooms.py",
    "cli/editor.py": "tests/cli/test_agent.py",
    "cli/fetch.py": "options and a progress bar around tests/cli/test_download.py",
    "cli/options.py": "declarations",
    "cli/parquet.py": "tests/cli/test_export.py",
    "cli/processes.py": "tests/e2e/test_run.py",
    "cli/rows.py": "tests/cli/test_export.py",
    "cli/run.py": "tests/e2e/test_run.py",
    "cli/up.py": "tests/e2e/test_up.py",
    "composition/bus_server.py": "tests/e2e/test_up.py",
    "composition/child_process.py": "tests/e2e/test_up.py",
    "composition/platform.py": "tests/e2e/test_up.py",
    "composition/room_server.py": "tests/e2e/test_up_rooms.py",
    "config_service/client.py": "tests/config_service/test_service.py",
    "config_service/database.py": "tests/config_service/test_store.py and test_migrations.py",
    "config_service/editor.py": "tests/config_service/test_service.py and tests/cli/test_agent.py",
    "config_service/keys.py": "tests/config_service/test_store.py",
    "config_service/kv_copy.py": "tests/config_service/test_service.py",
    "config_service/migrations/*": "tests/config_service/test_migrations.py",
    "config_service/resolver.py": "tests/config_service/test_service.py",
    "config_service/tables.py": "declarations, which tests/config_service/test_store.py uses",
    "config_service/documents.py": "tests/config_service/test_files.py",
    "config_service/source_text.py": "tests/config_service/test_files.py",
    "gateway/*": "tests/gateway/test_serve.py, over HTTP",
    "schemas/*": "declarations, which tests/schemas/test_events.py and test_compatibility.py hold to the contract",
    "session/entries.py": "tests/session/test_state.py",
    "session/retention.py": "tests/session/test_state.py",
    "stages/ingress/*": "tests/ingress/test_stage.py",
    "stages/llm/bedrock_events.py": "tests/llm/test_amazon.py",
    "stages/llm/gemini_chunks.py": "tests/llm/test_google.py",
    "stages/llm/http_stream.py": "tests/llm/test_openai.py and test_chat_client.py",
    "stages/llm/providers/cerebras.py": "tests/llm/test_chat_client.py",
    "stages/llm/providers/groq.py": "tests/llm/test_chat_client.py",
    "stages/llm/providers/local.py": "tests/llm/test_local_model.py",
    "stages/llm/contract.py": "Protocols, which antiphon_testing/conformance/language_model.py tests",
    "stages/llm/refusals.py": "tests/llm/test_openai.py",
    "stages/llm/states.py": "the table of tests/llm/test_turns.py",
    "stages/llm/utterances.py": "tests/llm/test_turns.py",
    "stages/runtime/chain.py": "tests/llm/test_fallback.py",
    "stages/runtime/engine_thread.py": "tests/stt/test_local.py",
    "stages/tts/refusals.py": "tests/tts/test_openai_voice.py",
    "stages/runtime/inbox.py": "tests/runtime/test_context.py and every test_stage.py",
    "stages/runtime/lifetime.py": "tests/runtime/test_context.py",
    "stages/runtime/hosted_session.py": "tests/runtime/test_stage_host.py",
    "stages/stt/contract.py": "Protocols, which antiphon_testing/conformance/recognizer.py tests",
    "stages/tts/agent_audio.py": "tests/tts/test_stage.py and test_credit.py",
    "stages/tts/sentence_synthesizer.py": "tests/tts/test_conformance.py",
    "stages/tts/speech.py": "tests/tts/test_stage.py",
    "stages/stt/utterance.py": "tests/stt/test_segmenting_recognizer.py",
    "stages/tts/voice_options.py": "tests/tts/test_openai_voice.py",
    "stages/tts/context_provider.py": "tests/tts/test_cartesia.py",
    "stages/tts/context_turn.py": "tests/tts/test_cartesia.py",
    "stages/tts/shared_socket.py": "tests/tts/test_cartesia.py",
    "stages/tts/english.py": "tests/tts/test_text_normalization.py",
    "stages/tts/providers/*.py": "tests/tts/test_local_voice.py and test_stage.py",
    "transports/*": "tests/transports/livekit and tests/ingress, with a real server and real sockets",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def mirrored(path: Path) -> Path:
    """Return where the tests of a product file are."""
    folders = path.relative_to(ROOT).parts[:-1]
    where = [name for name in (FOLDERS.get(folder, folder) for folder in folders) if name] or folders
    return ROOT.joinpath("tests", *where, f"test_{path.stem}.py")


def untested() -> list[str]:
    return [name(path) for path in sources() if path.name != "__init__.py" and not mirrored(path).exists()]


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        ("bus/kv.py", "tests/bus/test_kv.py"),
        ("stages/llm/turns.py", "tests/llm/test_turns.py"),
        ("stages/llm/providers/openai.py", "tests/llm/test_openai.py"),
        ("stages/markup.py", "tests/stages/test_markup.py"),
        ("antiphon_testing/wer.py", "tests/testing/test_wer.py"),
        ("transports/livekit/dispatch.py", "tests/transports/livekit/test_dispatch.py"),
    ],
)
def test_where_the_tests_of_a_file_are(file: str, tests: str) -> None:
    assert name(mirrored(ROOT / file)) == tests
    assert mirrored(ROOT / file).exists()


def test_every_file_has_its_tests_or_a_reason() -> None:
    missing = [file for file in untested() if not any(fnmatch(file, pattern) for pattern in EXCEPTIONS)]
    assert missing == [], "add tests/FOLDER/test_NAME.py, or say in EXCEPTIONS which test covers the file"


def test_every_exception_is_needed() -> None:
    without = untested()
    assert [pattern for pattern in EXCEPTIONS if not any(fnmatch(file, pattern) for file in without)] == []
