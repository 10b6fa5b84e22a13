"""Keys of model backends as the kubelet mounts them: found by name, renewed by a changed link, and none is no error."""

from pathlib import Path

from aion.gateway.modelkeys import ModelKeys


def mounted(folder: Path, version: str, **keys: str) -> None:
    """As the kubelet does: files in a folder of their own, a link to it that is replaced in one step."""
    held = folder / version
    held.mkdir()
    for name, key in keys.items():
        (held / name).write_text(key)
    (folder / "..new").symlink_to(version)
    (folder / "..new").replace(folder / "..data")
    for name in keys:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def test_a_key_is_read_by_name_and_a_changed_one_at_the_next_call(tmp_path: Path):
    mounted(tmp_path, "1", openai="sk-1\n")
    keys = ModelKeys(tmp_path)
    assert keys.key("openai") == "sk-1"
    mounted(tmp_path, "2", openai="sk-2")
    assert keys.key("openai") == "sk-2"


def test_no_key_is_empty_and_so_is_a_name_that_is_none(tmp_path: Path):
    keys = ModelKeys(tmp_path / "not-mounted")
    assert [keys.key(name) for name in ("openai", "", "x\0y")] == ["", "", ""]
