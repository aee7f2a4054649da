"""Which key goes to which host, and which private hosts a document may name."""

import ipaddress

import pytest

from schemas.provider_keys import PrivateHosts, ProviderKeys, origin

HOMES = {"OPENAI_API_KEY": "https://api.openai.com/v1", "GROQ_API_KEY": "https://api.groq.com/openai/v1"}


def key(url: str, **environment: str) -> str | None:
    _, secret = ProviderKeys.from_environment(environment).find(url, HOMES)
    return secret.get_secret_value() if secret else None


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "https://API.OpenAI.com:443/other", "https://api.openai.com./v1"]
)
def test_a_key_goes_to_its_vendor(url: str) -> None:
    assert key(url, OPENAI_API_KEY="sk-1") == "sk-1"


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/v1",
        "http://api.openai.com/v1",  # unencrypted
        "https://api.openai.com:8443/v1",
        "https://api.openai.com.elsewhere.example/v1",
        "https://openai.com/v1",
        "https://elsewhere.example/?https://api.openai.com",
    ],
)
def test_a_key_goes_nowhere_else(url: str) -> None:
    assert key(url, OPENAI_API_KEY="sk-1", AWS_SECRET_ACCESS_KEY="aws", GROQ_API_KEY="gsk") is None


def test_each_vendor_has_its_own_key() -> None:
    both = {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk"}
    assert key("https://api.groq.com/openai/v1", **both) == "gsk"
    assert key("https://api.groq.com/openai/v1", OPENAI_API_KEY="sk-1") is None


def test_an_operator_who_names_a_url_moves_the_key_there() -> None:
    moved = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://10.0.0.5:8000/v1"}
    assert key("http://10.0.0.5:8000/v1", **moved) == "sk-1"
    assert key("https://api.openai.com/v1", **moved) is None
    assert ProviderKeys.from_environment(moved).named("http://10.0.0.5:8000/x", HOMES)


def test_an_operator_may_bind_any_key_to_hosts() -> None:
    bound = {
        "VLLM_API_KEY": "v",
        "GROQ_API_KEY": "gsk",
        "ANTIPHON_KEY_HOSTS": "VLLM_API_KEY=models.example, VLLM_API_KEY=http://10.0.0.5:8000 GROQ_API_KEY=a.example",
    }
    assert key("https://models.example/v1", **bound) == key("http://10.0.0.5:8000", **bound) == "v"
    assert key("https://a.example", **bound) == "gsk"
    assert key("https://api.groq.com", **bound) is None
    assert key("http://models.example/v1", **bound) is None


def test_the_url_of_a_vendor_that_a_provider_does_not_know_is_not_named() -> None:
    keys = ProviderKeys.from_environment({"VAULT_API_KEY": "v", "VAULT_BASE_URL": "http://10.0.0.9:8200"})
    assert not keys.named("http://10.0.0.9:8200", HOMES)
    assert keys.find("http://10.0.0.9:8200", HOMES) == ("", None)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ANTIPHON_KEY_HOSTS": "GROQ_API_KEY"}, "write it like GROQ_API_KEY=api.groq.com"),
        ({"ANTIPHON_KEY_HOSTS": "GROQ_API_KEY=ftp://x"}, "ANTIPHON_KEY_HOSTS holds a URL"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "api.openai.com"}, "OPENAI_BASE_URL holds a URL"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        ProviderKeys.from_environment(environment)
    assert "sk-1" not in str(caught.value)


def test_variables_of_other_programs_do_no_harm() -> None:
    keys = ProviderKeys.from_environment({"CI_BASE_URL": "no url", "PATH": "/bin", "TWILIO_AUTH_TOKEN": "t"})
    assert keys.find("https://elsewhere.example", HOMES) == ("", None)
    assert not keys.values


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://", "https://user:word@host/", "host/v1", "gopher://x"])
def test_what_is_no_url_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="https://host/path"):
        origin(url)


@pytest.mark.parametrize(
    ("setting", "host", "address", "allowed"),
    [
        (None, "localhost", "127.0.0.1", True),
        (None, "box", "10.0.0.5", False),
        ("none", "localhost", "127.0.0.1", False),
        ("loopback, box", "box", "10.0.0.5", True),
        ("box", "other", "10.0.0.5", False),
        ("box", "localhost", "127.0.0.1", False),
        ("10.0.0.0/8 fd00::/8", "any", "10.1.2.3", True),
        ("10.0.0.0/8 fd00::/8", "any", "fd00::1", True),
        ("10.0.0.5", "any", "10.0.0.6", False),
    ],
)
def test_private_hosts_are_the_operators_choice(setting: str | None, host: str, address: str, allowed: bool) -> None:
    private = PrivateHosts.from_environment({} if setting is None else {"ANTIPHON_PRIVATE_HOSTS": setting})
    assert private.allow(host, ipaddress.ip_address(address)) is allowed
