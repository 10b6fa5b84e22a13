"""A real issuer on loopback: discovery and keys by HTTP, tokens by real keys."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

_OF = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm}


def _made(algorithm):
    if algorithm[:2] in ("RS", "PS"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(
        {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[algorithm]
    )


@dataclass
class Issuer:
    asked: list = field(default_factory=list)
    keys: dict = field(default_factory=dict)
    document: dict = field(default_factory=dict)
    broken: bool = False
    url: str = ""

    def key(self, kid, algorithm="ES256", **jwk):
        """Make a key and publish it."""
        private = _made(algorithm)
        how = OKPAlgorithm() if algorithm == "EdDSA" else _OF[algorithm[:2]](_OF[algorithm[:2]].SHA256)
        public = how.to_jwk(private.public_key(), as_dict=True)
        self.keys[kid] = (private, algorithm, {**public, "kid": kid, "use": "sig", **jwk})
        return private

    def token(self, kid, *, header=None, algorithm=None, **claims) -> str:
        now = time.time()
        private, of, _ = self.keys[kid]
        said: dict[str, Any] = {
            "iss": self.url,
            "aud": "aion-os",
            "sub": "jane",
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        return jwt.encode(said, private, algorithm=algorithm or of, headers={"kid": kid, **(header or {})})

    async def _serve(self, request):
        self.asked.append(request.path)
        if self.broken:
            return web.Response(status=500)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.document})
        return web.json_response({"keys": [jwk for _, _, jwk in self.keys.values()]})


@contextlib.asynccontextmanager
async def issuing():
    issuer, app = Issuer(), web.Application()
    app.router.add_get("/{path:.*}", issuer._serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    issuer.key("one")
    try:
        yield issuer
    finally:
        await runner.cleanup()
