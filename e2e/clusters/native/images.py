"""Images in containerd without a registry: made here from one static binary, or loaded from an archive or buildah.

An image counts as present when the name points at the same image id (the digest of its configuration);
then loading is skipped. It must never pull.
"""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from pathlib import Path

from clusters import run
from clusters.failure import Failed
from clusters.native.containerd import ctr
from clusters.native.layout import Layout

NAMED = "io.containerd.image.name"  # the annotation by which containerd's importer learns the full name


def load(layout: Layout, image: str) -> str:
    """Load an archive's path, or a name in buildah's storage. Returns one line that says what was done."""
    if Path(image).is_file():
        return _load_archive(layout, Path(image))
    if "/" in image and Path(image).suffix in {".tar", ".oci"}:
        raise Failed(f"{image}: no such file", remedy="give a tar archive, or the name of a local image")
    return _load_from_buildah(layout, image)


def ensure_binary(
    layout: Layout,
    name: str,
    binary: Path,
    *,
    entrypoint: str,
    user: str = "65532:65532",
    extra: dict[str, Path] | None = None,
) -> None:
    """Have an image FROM scratch that holds one static binary (and perhaps files beside it)."""
    image_id, archive = of_binary(name, binary, entrypoint=entrypoint, user=user, extra=extra)
    if not present(layout, name, image_id):
        _import(layout, archive, name)


def of_binary(
    name: str, binary: Path, *, entrypoint: str, user: str, extra: dict[str, Path] | None = None
) -> tuple[str, bytes]:
    """Return such an image: its id, and the docker archive that `load` takes. Pure but for reading the files."""
    layer = _layer({entrypoint: binary, **(extra or {})})
    config = json.dumps(
        {
            "architecture": "arm64" if os.uname().machine == "aarch64" else "amd64",
            "os": "linux",
            "config": {"Entrypoint": [entrypoint], "User": user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "e2e/cluster"}],
        }
    ).encode()
    image_id = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{image_id}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return image_id, _tar(
        {f"{image_id}.json": config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    )


def present(layout: Layout, name: str, image_id: str) -> bool:
    """Say whether the node has this name, and that it is this very image."""
    targets = dict(
        re.findall(r"^(\S+)\s+\S+\s+(sha256:[0-9a-f]{64})", run.output([*ctr(layout), "images", "ls"]), re.MULTILINE)
    )
    return name in targets and targets[name] == targets.get(f"sha256:{image_id}")


def identify(archive: Path) -> list[tuple[str, str]]:
    """Return (name, image id) of each image in a docker or OCI archive. Raises Failed where it is neither."""
    try:
        with tarfile.open(archive) as tar:
            names = {entry.removeprefix("./") for entry in tar.getnames()}
            if "manifest.json" in names:
                manifest = _json(tar, "manifest.json")
                return [
                    (tag, hashlib.sha256(_bytes(tar, entry["Config"])).hexdigest())
                    for entry in manifest
                    for tag in entry["RepoTags"] or ()
                ]
            if "index.json" in names:
                return [found for entry in _json(tar, "index.json")["manifests"] if (found := _oci(tar, entry))]
    except (tarfile.TarError, KeyError, ValueError, gzip.BadGzipFile) as error:
        raise Failed(
            f"{archive}: not an image archive: {error}",
            remedy="make one by `buildah push NAME docker-archive:FILE:NAME`",
        ) from None
    raise Failed(
        f"{archive}: holds neither manifest.json nor index.json",
        remedy="make one by `buildah push NAME docker-archive:FILE:NAME`",
    )


def _load_archive(layout: Layout, archive: Path) -> str:
    images = identify(archive)
    if not images:
        raise Failed(
            f"{archive}: no image in it has a name", remedy="make it by `buildah push NAME docker-archive:FILE:NAME`"
        )
    told = ", ".join(name for name, _ in images)
    if all(present(layout, name, image_id) for name, image_id in images):
        return f"{told}: is there already"
    with tempfile.TemporaryDirectory(dir=layout.state, prefix="load-") as scratch:
        run.output(["tar", "--extract", "--file", archive.absolute(), "--directory", scratch, "--no-same-owner"])
        if (Path(scratch) / "manifest.json").exists():
            _import_file(layout, archive, told)
        else:
            _import_oci(layout, Path(scratch), None)
    return f"{told}: loaded"


def _load_from_buildah(layout: Layout, name: str) -> str:
    env = {"STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay")}
    try:
        image_id = json.loads(run.output(["buildah", "inspect", "--type", "image", name], env=env))["FromImageID"]
    except Failed as failure:
        raise Failed(
            f"{name}: neither a file nor an image that buildah knows ({failure})",
            remedy="build it, or give an archive's path",
        ) from None
    name = _full(name)
    if present(layout, name, image_id):
        return f"{name}: is there already"
    with tempfile.TemporaryDirectory(dir=layout.state, prefix="load-") as scratch:
        # As OCI: a docker archive would rewrite the configuration, and with it the image's id.
        run.output(["buildah", "push", "--quiet", "--disable-compression", image_id, f"oci:{scratch}:{name}"], env=env)
        _import_oci(layout, Path(scratch), name)
    return f"{name}: loaded"


def _import_oci(layout: Layout, folder: Path, name: str | None) -> None:
    """Import an OCI layout; containerd takes the full name from an annotation of its own."""
    index = folder / "index.json"
    document = json.loads(index.read_text())
    for entry in document["manifests"]:
        annotations = entry.setdefault("annotations", {})
        if named := name or annotations.get("org.opencontainers.image.ref.name"):
            annotations.setdefault(NAMED, named)
    index.write_text(json.dumps(document))
    archive = folder.with_suffix(".tar")
    try:
        run.output(
            [
                "tar",
                "--create",
                "--file",
                archive,
                "--directory",
                folder,
                *sorted(path.name for path in folder.iterdir()),
            ]
        )
        _import_file(layout, archive, name or "the archive")
    finally:
        archive.unlink(missing_ok=True)


def _full(name: str) -> str:
    """Give a name the tag it means, and localhost where no registry is named."""
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    host = tagged.partition("/")[0]
    return tagged if "/" in tagged and ("." in host or ":" in host or host == "localhost") else f"localhost/{tagged}"


def _import(layout: Layout, archive: bytes, name: str) -> None:
    with tempfile.NamedTemporaryFile(dir=layout.state, prefix="load-", suffix=".tar") as file:
        file.write(archive)
        file.flush()
        _import_file(layout, Path(file.name), name)


def _import_file(layout: Layout, archive: Path, name: str) -> None:
    try:
        run.output([*ctr(layout), "images", "import", archive])
    except Failed as failure:
        raise Failed(
            f"{name} could not be imported: {failure}", log=layout.logs / "containerd.log", remedy="is the disk full?"
        ) from None


def _oci(tar: tarfile.TarFile, entry: dict) -> tuple[str, str] | None:
    annotations = entry.get("annotations") or {}
    name = annotations.get(NAMED) or annotations.get("org.opencontainers.image.ref.name")
    manifest = _json(tar, "blobs/" + entry["digest"].replace(":", "/"))
    return (name, manifest["config"]["digest"].removeprefix("sha256:")) if name and "config" in manifest else None


def _json(tar: tarfile.TarFile, name: str):
    return json.loads(_bytes(tar, name))


def _bytes(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name if name in tar.getnames() else f"./{name}")
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file.read()


def _layer(files: dict[str, Path]) -> bytes:
    return _tar({target.lstrip("/"): source.read_bytes() for target, source in files.items()}, mode=0o755)


def _tar(files: dict[str, bytes], *, mode: int = 0o644) -> bytes:
    """Return a tar archive that is the same for the same files: no times, no owners."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
