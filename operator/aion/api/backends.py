"""Backends of models as the chart's `models.backends` says them: read, checked, made ready to be granted.

Apart from `grant`, whose structs every gateway carries, because only who compiles grants reads configuration: the kernel,
and `aionctl kernel dev`. Pure. It must never hold a key: keys are in Secret aion-model-keys, under the backend's name.

    {"vllm": {"kind": "openai", "url": "http://vllm.models:8000/v1", "price": {"input": "0.05", "output": "0.20"}}}
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from aion.api import ids
from aion.api.generation import MAX_TOKENS
from aion.api.grant import Backend

MAX_BACKENDS = 64

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{0,253}")


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars for a million tokens, as decimal strings."""

    input: str = "0"
    output: str = "0"


class Configured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One backend, as it is written."""

    kind: Literal["openai", "ollama", "anthropic"]
    url: str
    cloud: bool = False
    price: Price = Price()
    key: str = ""
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = 4096


_decoder = msgspec.json.Decoder(dict[str, Configured])


def read(text: str | bytes) -> Mapping[str, Backend]:
    """Read backends from JSON, by name; raises ValueError, which says where and what to write."""
    if not text.strip():
        return {}
    try:
        given = _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"models.backends: {error}") from None
    if len(given) > MAX_BACKENDS:
        raise ValueError(f"models.backends: got {len(given)}, expected at most {MAX_BACKENDS}")
    return {name: _backend(name, each) for name, each in given.items()}


def _backend(name: str, given: Configured) -> Backend:
    at = f"models.backends.{name[:80]}"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{at}: expected a name of small letters, digits and hyphens, up to 63")
    if not _KEY.fullmatch(given.key):
        raise ValueError(f"{at}.key: expected a key of a Secret")
    url = urlsplit(given.url)
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
        raise ValueError(
            f"{at}.url: got {given.url[:120]!r}, expected http(s)://host[:port][/path], and nothing secret in it"
        )
    if given.cloud and url.scheme != "https":
        raise ValueError(f"{at}.url: a backend outside the house is reached by https, got {given.url[:120]!r}")
    try:
        price_in, price_out = ids.micro_usd(given.price.input), ids.micro_usd(given.price.output)
    except ValueError as error:
        raise ValueError(f"{at}.price: {error}") from None
    return Backend(
        name=name,
        kind=given.kind,
        url=given.url.rstrip("/"),
        cloud=given.cloud,
        price_in=price_in,
        price_out=price_out,
        key=given.key,
        max_tokens=given.max_tokens,
    )
