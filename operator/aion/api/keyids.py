"""The ids of tenant keys: what a rotated key is called, and from when on gateways sign with it.

Apart because the controller makes keys and gateways choose among them, and only the name travels with a mounted Secret. Kubelets renew mounted
files one after another, up to a minute and a half: a key that signed at once would be unknown to Tools on slower nodes. So its id says from when on
it signs, and until then it is only known. It must never hold anything of a secret.
"""

import re

FIRST = "default"
"""The id of a tenant's first key: what SDKs sign with where they are told no other."""

SETTLE_S = 120
"""Kubelets look at a Secret once a minute, from a cache of a minute at most, and the kernel remembers keys for 30 s: within two, all know."""

_ROTATED = re.compile(r"key-([0-9]{10,12})")


def rotated(signs_from: int) -> str:
    """The id of a key that signs from this Unix second on."""
    return f"key-{signs_from}"


def signs_from(key_id: str) -> int:
    """The Unix second from which on gateways sign with the key; 0, always, of any id that is not a rotated one's."""
    found = _ROTATED.fullmatch(key_id)
    return int(found[1]) if found else 0
