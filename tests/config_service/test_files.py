"""Documents as people write them: YAML 1.2 and JSON, every complaint with its line, its field and what to do."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config_service import documents
from config_service.documents import BadDocument
from config_service.files import read_bytes, read_files, read_text
from config_service.source_text import write_yaml
from schemas.agent import AgentDocument, AgentFact, ProviderChoice, Turns


def one(text: str, name: str = "a.yaml") -> AgentDocument:
    (document,) = read_text(text, name)
    return document


@pytest.mark.parametrize(
    ("written", "ms"), [("0300", 300), ("300", 300), ("0x12C", 300), ("0o454", 300), ("+300", 300), ("'300'", 300)]
)
def test_a_number_is_read_as_it_looks(written: str, ms: int) -> None:
    assert one(f"id: desk\nturns: {{min_delay_ms: {written}}}").turns.min_delay_ms == ms


@pytest.mark.parametrize(
    "written",
    ["no", "yes", "off", "on", "y", "0123", "1", "1e3", "0x1F", "0o17", "true", "1_000", "2026-01-01", "00544", "-5"],
)
def test_a_word_without_quotes_is_text_where_text_is_wanted(written: str) -> None:
    document = one(f"id: {written}\nfacts: [{written}, {{text: {written}, asks: [{written}]}}]\ngreeting: {written}")
    assert document.id == document.greeting == written
    assert document.facts == [AgentFact(text=written), AgentFact(text=written, asks=[written])]


def test_a_time_of_day_is_text_and_no_number() -> None:
    document = one("id: desk\nfacts: [00544, yes, 12:30]\nllm: {options: {at: 1:30, since: 2026-01-01, hot: 0.5}}")
    assert [fact.text for fact in document.facts] == ["00544", "yes", "12:30"]
    assert document.llm.options == {"at": "1:30", "since": "2026-01-01", "hot": 0.5}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id: b\nturns:\n  min_delay_ms: 1:30", "a.yaml, line 3: turns.min_delay_ms: Input should be a valid integer"),
        ("id: b\nturns:\n  min_delay_ms: 1:30", "Write a whole number, such as 300."),
        ("id: b\ngreting: Hi", "a.yaml, line 2: greting: Extra inputs are not permitted. Did you mean greeting?"),
        ("id: b\nturns: {min_delay: 3}", "line 2: turns.min_delay: Extra inputs are not permitted. Did you mean min_"),
        ("prompt: hi", "a.yaml, line 1: id: Field required. Add it."),
        ("id: b\nprompt:\ngreeting: hi", "a.yaml, line 2: prompt: Input should be a valid string. It is empty here"),
        ("id: b\nfacts:\n- A\n- Price: 60", "line 4: facts.1.Price: Extra inputs are not permitted. Quote a fact that"),
        ("id: b\nfacts: one", "line 2: facts: Input should be a valid list. Write a list, such as [first, second]."),
        ("id: b\ntts: 5", "line 2: tts: Input should be a valid dictionary or instance of ProviderChoice. Write"),
        ("id: b\nllm: openai/", "line 2: llm: 'openai/' names no provider and model. Write openai/gpt-5.4-mini."),
        ("id: b\nllm: /gpt", "line 2: llm: '/gpt' names no provider and model. Write openai/gpt-5.4-mini."),
        ("id: b\nllm: ''", "line 2: llm.provider: provider '' is not allowed: use 1 to 64 of the characters"),
        ("id: b\nllm: open ai/x", "line 2: llm.provider: provider 'open ai' is not allowed: use 1 to 64"),
        ("id: b\nllm: {provider: a/b, options: {model: c}}", "line 2: llm: the model is named twice: behind the slash"),
        ("id: b\nllm: {provider: a/b, options: 5}", "line 2: llm.options: Input should be a valid dictionary."),
        ("id: b\nllm:\n  fallback: local", "line 3: llm.fallback: Input should be a valid list. Write a list"),
        ("id: b\nllm:\n  fallback: [5]", "line 3: llm.fallback.0: Input should be a valid dictionary or instance"),
        ("id: b\nllm:\n  fallback: [a, b, c, d, e]", "line 3: llm.fallback: List should have at most 4 items"),
        ("id: b\nllm:\n  fallback:\n  - {provider: a, fallback: [b]}", "line 3: llm.fallback: a fallback has no"),
        ("id: b\nlanguage: german", "line 2: language: 'german' is no code of a language. Write en, de-AT or multi."),
        ("id: b\nlanguage: ''", "line 2: language: '' is no code of a language. Write en, de-AT or multi."),
        ("id: b\nprompt: {a: b}", "line 2: prompt: Input should be a valid string. Write text, and quote it"),
        ("id: b\n\nmood: grim\nzeal: low", "a.yaml, line 3: mood: Extra inputs are not permitted. Leave it out."),
        ("id: b\n\nmood: grim\nzeal: low", "; line 4: zeal: Extra inputs"),
        ("id: b\ngreeting: Hello: how are you", "line 2: mapping values are not allowed here. Quote a text that holds"),
        ("id: b\nturns:\n\tmin_delay_ms: 1", "line 3: found character '\\t' that cannot start any token. Indent with"),
        ("id: b\ngreeting: *hello*", "line 2: anchors (&name) and aliases (*name) are not read. Write it out; quote"),
        ("id: b\ngreeting: &hello there", "line 2: anchors (&name) and aliases (*name) are not read. Write it out"),
        ("id: b\ngreeting: !hello there", "line 2: tags (!name) are not read. Write plain values, and quote"),
        ("id: b\nllm: !!set {a: b}", "line 2: tags (!name) are not read."),
        ("id: b\nllm: {options: {at: !!bool soon}}", "line 2: not a value of type bool"),
        ("id: b\nllm: {options: {at: " + "9" * 5_000 + "}}", "line 2: not a value of type int"),
        ("id: b\nprompt: one\nprompt: two", "line 3: 'prompt' is there twice. Keep one of them."),
        ("id: b\n? [a]\n: b", "line 2: a name is one line of text"),
        ("id: b\nprompt: a\x07b", "line 2: the character U+0007 is not allowed in YAML"),
        ("id: b\nfacts: " + "[" * 5_000, "line 1: nested too deeply"),
        ("id: b\nllm: {options: {hot: .nan}}", "a.yaml: b: not JSON"),
        ("- a list", "a.yaml: an agent is a mapping with an id"),
        ("", "a.yaml: empty: an agent needs at least an id"),
    ],
)
def test_a_complaint_names_file_line_field_and_remedy(text: str, told: str) -> None:
    with pytest.raises(BadDocument, match=re.escape(told)) as wrong:
        read_text(text, "a.yaml")
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"id": "b",\n"prompt": "a" "b"}', "a.json, line 2: Expecting ',' delimiter"),
        ('{"id": 5}', "a.json, line 1: id: Input should be a valid string. Write text, and quote it"),
        ('{"id": "b",\n"turns": {"min_delay_ms": 0.5}}', "a.json, line 2: turns.min_delay_ms: Input should be a valid"),
        ('{"id": "b",\n"id": "c"}', "a.json, line 1: 'id' is there twice. Keep one of them."),
        ('{"id": "b",\n\t"mood": "grim"}', "a.json: mood: Extra inputs"),  # a tab: its line is not known
        ("[" * 100_000, "a.json, line 1: "),
    ],
)
def test_json_is_json(text: str, told: str) -> None:
    with pytest.raises(BadDocument, match=re.escape(told)):
        read_text(text, "a.json")


@pytest.mark.parametrize("name", ["a.json", "standard input"])
def test_json_is_read_where_yaml_would_stumble(name: str) -> None:
    text = '{\n\t"id": "desk",\n\t"greeting": "\\ud83d\\udc4b a\\/b",\n\t"llm": {"options": {"%s": 1}}\n}' % (
        "k" * 2_000
    )
    document = one(text, name)
    assert (document.greeting, document.llm.options) == ("👋 a/b", {"k" * 2_000: 1})


def test_several_documents_and_a_byte_order_mark() -> None:
    assert [agent.id for agent in read_bytes(b"\xef\xbb\xbfid: a\n---\nid: b\n--- \n", "a.yaml")] == ["a", "b"]
    assert [agent.id for agent in read_bytes(b'\xef\xbb\xbf{"id": "a"}', "a.json")] == ["a"]
    with pytest.raises(BadDocument, match=r"a\.yaml: not UTF-8 text"):
        read_bytes(b"id: \xff", "a.yaml")


@pytest.mark.parametrize("name", ["preemptive_generation", "think_ahead"])
def test_a_field_is_read_by_its_old_name_and_written_by_its_new_one(name: str) -> None:
    document = one(f"id: desk\nturns: {{{name}: no}}")
    assert documents.plain(document) == {"id": "desk", "turns": {"preemptive_generation": False}}


def test_a_field_by_both_its_names_is_refused() -> None:
    with pytest.raises(BadDocument, match=re.escape("line 2: turns.think_ahead: Extra inputs are not permitted")):
        one("id: desk\nturns: {think_ahead: no, preemptive_generation: yes}")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("local", {"provider": "local"}),
        ("openai/gpt-5.4-mini", {"provider": "openai", "options": {"model": "gpt-5.4-mini"}}),
        ("groq/openai/gpt-oss-120b", {"provider": "groq", "options": {"model": "openai/gpt-oss-120b"}}),
        (
            "{provider: openai/gpt-5.4-mini, options: {temperature: 0}}",
            {"provider": "openai", "options": {"model": "gpt-5.4-mini", "temperature": 0}},
        ),
        (
            "{provider: openai, fallback: [groq/a/b, local, {provider: scripted, options: {token_ms: 1}}]}",
            {
                "provider": "openai",
                "fallback": [
                    {"provider": "groq", "options": {"model": "a/b"}},
                    {"provider": "local"},
                    {"provider": "scripted", "options": {"token_ms": 1}},
                ],
            },
        ),
    ],
)
def test_a_provider_is_written_in_a_short_or_a_long_form(written: str, read: dict[str, object]) -> None:
    document = one(f"id: desk\nllm: {written}")
    assert document.llm == ProviderChoice.model_validate(read)
    assert one(write_yaml(documents.plain(document))) == document


def test_a_chain_has_its_choices_in_order_and_a_name_for_people() -> None:
    llm = one("id: desk\nllm: {provider: openai/gpt-5.4-mini, fallback: [groq/a/b, local]}").llm
    assert [choice.provider for choice in llm.chain] == ["openai", "groq", "local"]
    assert llm.names == "openai/gpt-5.4-mini > groq/a/b > local"
    assert ProviderChoice().names == "local"


@pytest.mark.parametrize("language", ["en", "de-AT", "zh-Hans-CN", "es-419", "multi"])
def test_an_agent_has_a_language(language: str) -> None:
    assert one(f"id: desk\nlanguage: {language}").language == language
    assert one("id: desk").language == "en"


def test_an_id_stands_in_one_file_only(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("id: desk")
    (tmp_path / "b.json").write_text('{"id": "desk"}')
    with pytest.raises(BadDocument, match=r"b\.json: agent desk is in .*a\.yaml already"):
        read_files([tmp_path])


# --- round trips ------------------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[-+.:0-9a-fxoeEnNyYt~_]{1,6}", fullmatch=True),  # what one YAML or another reads as something
    st.sampled_from(["", "null", "~", "yes", "No", "ON", "true", ".inf", "1:30", "0o17", "1e3", "=", "<<", "---", "-"]),
)
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)
FALLBACKS = st.builds(
    ProviderChoice, provider=st.just("scripted"), options=st.dictionaries(WORDS, JSON_VALUES, max_size=3)
)
CHOICES = st.builds(
    ProviderChoice,
    provider=st.just("scripted"),
    options=st.dictionaries(WORDS, JSON_VALUES, max_size=3),
    fallback=st.lists(FALLBACKS, max_size=2),
)
FACTS = st.builds(AgentFact, text=WORDS.filter(bool), asks=st.lists(WORDS, max_size=2))
DOCUMENTS = st.builds(
    AgentDocument,
    id=st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True),
    name=WORDS.map(lambda word: word[:80]),
    description=WORDS,
    language=st.sampled_from(["en", "de-AT", "no", "multi"]),
    prompt=WORDS,
    greeting=WORDS,
    facts=st.lists(FACTS, max_size=3),
    stt=CHOICES,
    llm=CHOICES,
    tts=CHOICES,
    turns=st.builds(Turns, min_delay_ms=st.integers(0, 10_000), max_delay_ms=st.integers(0, 30_000)),
)


@given(DOCUMENTS)
def test_a_document_that_is_shown_can_be_set_again(document: AgentDocument) -> None:
    assert one(write_yaml(documents.plain(document))) == document


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_a_document_as_json_is_read_alike(document: AgentDocument, ascii_only: bool, indent: int | str | None) -> None:
    text = json.dumps(documents.plain(document), ensure_ascii=ascii_only, indent=indent)
    assert one(text, "a.json") == one(text, "standard input") == document


@given(DOCUMENTS)
def test_what_is_shown_is_the_same_to_a_reader_of_yaml_1_1(document: AgentDocument) -> None:
    plain = documents.plain(document)
    assert AgentDocument.model_validate(yaml.safe_load(write_yaml(plain))) == document


@given(st.from_regex(r"[0-9a-zA-Z.:+_]{1,8}", fullmatch=True))
def test_plain_words_are_never_changed(word: str) -> None:
    if word.lower() == "null" or word.endswith(":"):
        return
    assert one(f"id: desk\nfacts:\n- {word}").facts[0].text == word
