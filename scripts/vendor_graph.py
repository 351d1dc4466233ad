"""Fetch the libraries that draw graphs from npm, and keep them with licence and version.

``python -m scripts.vendor_graph``. Needs npm. What npm gives is checked against the hash below; the
files are copied as they are, but for the line that points at a source map, which is not shipped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

VENDOR = Path(__file__).parents[1] / "hmct_track" / "report" / "vendor"
LIBRARIES = (
    {
        "package": "cytoscape",
        "version": "3.34.4",
        "file": "dist/cytoscape.min.js",
        "sha512": "msY99tMY8iWTg+sIPGfSqDcPNOt4xcj+v/K/7qUFaCUxxlqnMkUYLBjRUzn9W5CU/R2hrmtJa5+UtovrEM2ctg==",  # noqa: E501
    },
    {
        "package": "@dagrejs/dagre",
        "version": "3.1.3",
        "file": "dist/dagre.min.js",
        "sha512": "X4aUTwOReZvthaZWOVHqlJ52/ZdhZFEM4+Lh/uR4XooUSLE6p71bcy7MPGzYnNUcNh+nj+i/qJQpCMIdQnSmrg==",  # noqa: E501
    },
)  # fmt: skip
"""Both MIT. dagre's file has @dagrejs/graphlib (MIT, the same copyright) in it."""


def fetch(library: dict[str, str], folder: Path) -> dict[str, str]:
    """Write a library and its licence to `VENDOR`, and return what is to be known of it."""
    name = f"{library['package']}@{library['version']}"
    done = subprocess.run(  # noqa: S603
        ["npm", "pack", "--json", "--pack-destination", str(folder), name],  # noqa: S607
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    archive = folder / json.loads(done.stdout)[0]["filename"].replace("@", "").replace("/", "-")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != library["sha512"]:
        raise SystemExit(f"{name}: the archive's SHA-512 is {found}, not {library['sha512']}")
    with tarfile.open(archive) as tar:

        def read(path: str) -> bytes:
            member = tar.extractfile(f"package/{path}")
            assert member is not None
            return member.read()

        package = json.loads(read("package.json"))
        assert package["license"] == "MIT"
        source = Path(library["file"]).name
        lines = read(library["file"]).decode().splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("//# sourceMappingURL="))
        (VENDOR / source).write_bytes(text.encode())
        licence = f"LICENSE.{source.removesuffix('.min.js')}"
        (VENDOR / licence).write_bytes(read("LICENSE"))
    return {
        "package": library["package"],
        "version": package["version"],
        "license": package["license"],
        "file": source,
        "license_file": licence,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def main() -> None:
    """Fetch all of them."""
    VENDOR.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        kept = [fetch(library, Path(folder)) for library in LIBRARIES]
    (VENDOR / "libraries.json").write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
