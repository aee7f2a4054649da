"""Provider keys and the hosts that may receive them; private hosts that agent documents may name.

Parsed from a mapping when a worker starts: only `cli` reads the environment.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

KEY_SUFFIX, URL_SUFFIX = "_API_KEY", "_BASE_URL"
KEY_HOSTS = "ANTIPHON_KEY_HOSTS"
PRIVATE_HOSTS = "ANTIPHON_PRIVATE_HOSTS"
DEFAULT_PORTS = {"https": 443, "http": 80}

# AWS' own names: Bedrock takes a bearer token, or requests that are signed with the three others.
AWS_BEARER_TOKEN = "AWS_BEARER_TOKEN_BEDROCK"  # noqa: S105 - the name of a variable
AWS_ACCESS_KEY_ID, AWS_SECRET_KEY, AWS_SESSION_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
AWS_KEYS = (AWS_BEARER_TOKEN, AWS_ACCESS_KEY_ID, AWS_SECRET_KEY, AWS_SESSION_TOKEN)
AWS_URL, AWS_REGIONS = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", ("AWS_REGION", "AWS_DEFAULT_REGION")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class ProviderKeys:
    """The provider keys of a worker, each bound to the origins that may receive it.

    values: variable -> key. urls: variable of a key -> the URL that the operator set for that vendor.
    hosts: variable -> the origins that the operator named for it. aws_region: "" if the operator named none.
    """

    values: Mapping[str, SecretStr] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    aws_region: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ProviderKeys":
        """From `*_API_KEY`, `*_BASE_URL`, ANTIPHON_KEY_HOSTS and AWS' own variables.

        Raises ValueError that names the wrong variable.
        """
        values = {
            name: SecretStr(value)
            for name, value in environment.items()
            if value and (name.endswith(KEY_SUFFIX) or name in AWS_KEYS)
        }
        urls = {}
        for name, url in environment.items():
            if name.endswith(URL_SUFFIX) and url:
                variable = name.removesuffix(URL_SUFFIX) + KEY_SUFFIX
                urls[variable] = url
                if variable in values:  # other programs' variables may hold anything
                    _origin_in(name, url)
        if bedrock := environment.get(AWS_URL):
            _origin_in(AWS_URL, bedrock)
            urls |= {AWS_BEARER_TOKEN: bedrock, AWS_SECRET_KEY: bedrock}
        region = next((environment[name] for name in AWS_REGIONS if environment.get(name)), "")
        hosts: dict[str, set[str]] = {}
        for entry in environment.get(KEY_HOSTS, "").replace(",", " ").split():
            variable, _, host = entry.partition("=")
            if not (variable and host):
                raise ValueError(f"{KEY_HOSTS} holds {entry!r}: write it like GROQ_API_KEY=api.groq.com")
            hosts.setdefault(variable, set()).add(_origin_in(KEY_HOSTS, host if "://" in host else f"https://{host}"))
        return cls(values, urls, {variable: frozenset(origins) for variable, origins in hosts.items()}, region)

    def find(self, url: str, homes: Mapping[str, str]) -> tuple[str, SecretStr | None]:
        """Return the variable that is bound to the origin of `url` ("" if none is), and its key if it is set.

        homes: variable -> the vendor's own URL, which counts where the operator named no origin for that variable.
        """
        bound = {variable: self._named(variable) or {origin(homes[variable])} for variable in homes} | {
            variable: set(origins) for variable, origins in self.hosts.items() if variable not in homes
        }
        fits = [variable for variable, origins in bound.items() if origin(url) in origins]
        variable = next((variable for variable in fits if variable in self.values), fits[0] if fits else "")
        return variable, self.values.get(variable)

    def named(self, url: str, homes: Mapping[str, str]) -> bool:
        """Whether the operator named the origin of `url`, for a key or as a vendor's URL."""
        return any(origin(url) in self._named(variable) for variable in {*homes, *self.hosts})

    def _named(self, variable: str) -> set[str]:
        url = self.urls.get(variable)
        return {*self.hosts.get(variable, ()), *([origin(url)] if url else ())}


@dataclass(frozen=True)
class PrivateHosts:
    """The private addresses that agent documents may name in a URL: by default this machine's own.

    loopback: 127.0.0.0/8 and ::1. names: host names whose addresses may be private. networks: in CIDR notation.
    """

    loopback: bool = True
    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "PrivateHosts":
        """From ANTIPHON_PRIVATE_HOSTS: names, addresses, networks, `loopback`, or `none`; unset is `loopback`."""
        entries = environment.get(PRIVATE_HOSTS, "loopback").replace(",", " ").lower().split()
        names, networks = set(), []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                names.add(entry)
        return cls("loopback" in names, frozenset(names - {"loopback", "none"}), tuple(networks))

    def allow(self, host: str, address: Address) -> bool:
        """Whether a document may reach the private `address`, which `host` stands for."""
        if address.is_loopback and self.loopback:
            return True
        return host.lower() in self.names or any(address in network for network in self.networks)


def origin(url: str) -> str:
    """Return scheme, host and port of `url`, such as "https://api.openai.com:443"; `wss` counts as `https`.

    Raises ValueError for a URL without a host, with another scheme, or with a user name in it.
    """
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    if scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("not like https://host/path")
    return f"{scheme}://{parts.hostname.rstrip('.')}:{parts.port or DEFAULT_PORTS[scheme]}"


def _origin_in(variable: str, url: str) -> str:
    try:
        return origin(url)
    except ValueError as error:
        raise ValueError(f"{variable} holds a URL that is {error}: correct it") from None
