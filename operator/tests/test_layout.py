"""The layout's one trap: this folder shares its name with a module of the standard library."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"operator", "crds", "charts", "sdk", "policies", "sandbox-profiles", "console", "e2e"}


def test_the_operator_folder_is_never_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_no_test_folder_is_a_package_and_no_two_test_files_share_a_name() -> None:
    tests = [p for base in ("operator/tests", "sdk/python/tests") for p in (ROOT / base).rglob("*.py")]
    names = [p.name for p in tests if p.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
    assert not [p for p in tests if p.name == "__init__.py"]


def test_the_package_imports_under_its_own_name() -> None:
    import operator

    import aion

    assert operator.add(1, 2) == 3
    assert Path(aion.__file__).parent == ROOT / "operator" / "aion"
