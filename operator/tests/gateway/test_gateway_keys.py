"""Which of the tenant's mounted keys a gateway signs with."""

import time

import pytest

from aion.api import errors, keyids
from aion.gateway.keys import Keys


def signed_with(folder, **files):
    for name, secret in files.items():
        (folder / name.replace("_", "-")).write_text(secret)
    return Keys(folder, tenant="team", agent_id="agent://team/a").sign("/v1/calls")["X-Aion-Key-Id"]


def test_the_only_key_signs(tmp_path):
    assert signed_with(tmp_path, default="one") == "default"


def test_a_rotated_key_signs_when_its_time_has_come_and_not_before(tmp_path):
    now = int(time.time())
    coming, come, older = (keyids.rotated(now + n) for n in (60, -1, -1000))
    assert signed_with(tmp_path, **{"default": "one", coming: "soon"}) == "default"
    assert signed_with(tmp_path, **{older: "old"}) == older
    assert signed_with(tmp_path, **{come: "now"}) == come


def test_an_empty_file_is_no_key(tmp_path):
    assert signed_with(tmp_path, default="one", zzz="") == "default"
    (tmp_path / "default").write_text("\n")
    with pytest.raises(errors.Unavailable, match="holds no key"):
        signed_with(tmp_path)
