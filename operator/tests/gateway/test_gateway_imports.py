"""What a gateway must not load at its start: every agent waits for it, and every Pod holds it."""

import subprocess
import sys


def loaded_by(code: str) -> set[str]:
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return set(said.stdout.split())


def test_a_gateway_starts_without_an_http_client_and_without_a_schema_compiler():
    modules = loaded_by("import aion.gateway.__main__")
    assert "aion.syscalls.net_fetch" in modules
    assert not modules & {"aiohttp", "yarl", "multidict", "jsonschema_rs", "websockets"}
    assert {each for each in modules if each.startswith("aion.dialects.")} == {
        f"aion.dialects.{each}" for each in ("rim", "served", "streaming", "wire")
    }


def test_the_http_client_is_there_for_the_first_fetch():
    assert "aiohttp" in loaded_by("from aion.syscalls import net_fetch; net_fetch._load()")
