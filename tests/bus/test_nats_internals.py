"""nats-py still has every private attribute that bus/ uses (ADR 16): a new version of it cannot break that in silence.

A failure names the file of bus/ that uses the attribute. Read that file, adapt it, then raise the cap of nats-py in
pyproject.toml.
"""

import ast
import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from nats import micro
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.js.errors import APIError
from nats.js.kv import KeyValue
from nats.micro import request
from nats.micro.service import EndpointConfig
from nats.protocol import parser

from bus.connect import Bus

FOLDER = Path(__file__).parents[2] / "bus"


class Used(NamedTuple):
    """An attribute that `file` uses. holds: whether a value is what the file expects."""

    file: str
    owner: str
    name: str
    holds: Callable[[Any], bool]


def is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


ATTRIBUTES = [
    Used("connect.py", "subscription", "_conn", is_a(Client)),
    Used("connect.py", "subscription", "_id", is_a(int)),
    Used("connection.py", "client", "_reconnection_task", is_a(asyncio.Task, type(None))),
    Used("connection.py", "client", "_pending", is_a(list)),
    Used("connection.py", "client", "_pending_data_size", is_a(int)),
    Used("wire.py", "client", "_pending", is_a(list)),
    Used("wire.py", "client", "_subs", lambda subs: all(isinstance(number, int) for number in subs)),
    Used("wire.py", "client", "_ps", is_a(parser.Parser)),
    Used("wire.py", "client", "_transport", is_a(TcpTransport)),
    Used("wire.py", "subscription", "_cb", inspect.iscoroutinefunction),
    Used("wire.py", "subscription", "_pending_queue", is_a(asyncio.Queue)),
    Used("wire.py", "parser", "buf", is_a(bytearray, bytes)),
    Used("wire.py", "parser", "state", lambda state: state == parser.AWAITING_CONTROL_LINE),
    Used("wire.py", "transport", "_io_writer", is_a(asyncio.StreamWriter)),
    Used("wire.py", "protocol", "_stream_reader", is_a(asyncio.StreamReader)),
    Used("wire.py", "reader", "_buffer", is_a(bytearray)),
]

SIGNATURES: list[tuple[str, Callable[..., Any], str]] = [
    ("connect.py", Client._send_unsubscribe, "self, sid, limit"),
    ("connect.py", Client.request, "self, subject, payload, timeout, old_style, headers"),
    ("connect.py", Subscription.drain, "self"),
    ("connect.py", Subscription.unsubscribe, "self, limit"),
    ("connection.py", Client.publish, "self, subject, payload, reply, headers"),
    ("kv.py", KeyValue.__init__, "self, name, stream, pre, js, direct"),
    ("kv.py", APIError.from_error, "err"),
    ("services.py", micro.add_service, "nc, config, kwargs"),
    ("services.py", EndpointConfig.__init__, "self, name, handler, queue_group, subject, metadata"),
]


@pytest.mark.parametrize("used", ATTRIBUTES, ids=lambda used: f"{used.file}:{used.owner}.{used.name}")
async def test_an_attribute_is_there(bus: Bus, used: Used) -> None:
    await bus.subscribe("story", lambda _message: None)
    [subscription] = bus.client._subs.values()
    transport: Any = bus.client._transport
    protocol = transport._io_writer.transport.get_protocol()._nats  # beneath the wire
    owners = {
        "client": bus.client,
        "subscription": subscription,
        "parser": bus.client._ps,
        "transport": transport,
        "protocol": protocol,
        "reader": protocol._stream_reader,
    }
    value = getattr(owners[used.owner], used.name, LookupError)
    assert value is not LookupError, f"bus/{used.file} uses {used.owner}.{used.name}: it is gone"
    assert used.holds(value), f"bus/{used.file} uses {used.owner}.{used.name}: it is {type(value)} now"


@pytest.mark.parametrize(("file", "function", "parameters"), SIGNATURES)
def test_a_function_keeps_its_parameters(file: str, function: Callable[..., Any], parameters: str) -> None:
    now = ", ".join(inspect.signature(function).parameters)
    assert now == parameters, f"bus/{file} calls {function.__qualname__}: its parameters are ({now}) now"


def test_the_headers_of_a_refusal_keep_their_names() -> None:
    told = "bus/connect.py reads them from answers of services, which another version may have sent"
    assert (request.ERROR_CODE_HEADER, request.ERROR_HEADER) == ("Nats-Service-Error-Code", "Nats-Service-Error"), told


@pytest.mark.parametrize("attribute", ["subject", "data", "headers", "respond"])
def test_a_request_of_a_micro_service_has_its_attributes(attribute: str) -> None:
    assert hasattr(request.Request, attribute), f"bus/services.py uses Request.{attribute}: it is gone"


def test_this_table_names_every_private_attribute_that_bus_uses() -> None:
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = node.value
                if not (isinstance(owner, ast.Name) and owner.id == "self"):
                    found.add((path.name, node.attr))
    listed = {(used.file, used.name) for used in ATTRIBUTES if used.name.startswith("_")}
    listed.add(("connect.py", Client._send_unsubscribe.__name__))
    assert found == listed
