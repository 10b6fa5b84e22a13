"""The types that authors see, by mypy in strict mode and for the oldest Python that is served."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_package_and_its_use_are_typed_for_the_oldest_python(tmp_path: Path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", "--config-file="),
            *("--cache-dir", str(HERE.parents[2] / ".mypy_cache" / "sdk")),
            *(str(HERE / "sdk_typed_use.py"), str(HERE.parent / "src" / "aion_sdk")),
        ],
        cwd=tmp_path,
        env={"MYPYPATH": str(HERE.parent / "src")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
