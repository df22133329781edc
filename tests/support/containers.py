"""Images and containers by Debian's buildah and podman; their base is made by mmdebstrap."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ("podman", "buildah", "mmdebstrap", "runc")
_NAMES: Final = (Path("/usr/lib/cni/dnsname"), Path("/usr/lib/podman/aardvark-dns"))
"""Either of them lets containers reach each other by name: Debian's packages
golang-github-containernetworking-plugin-dnsname and aardvark-dns."""
MISSING: Final = [
    *(tool for tool in TOOLS if shutil.which(tool) is None),
    *(["names of containers"] if not any(one.exists() for one in _NAMES) else []),
]
BASE: Final = "localhost/outlast-test-base"
IMAGE: Final = "localhost/outlast-test"
PODMAN: Final = ("podman", "--runtime", "runc")
OF_HOST: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""What a build behind a proxy needs."""
AGENTS: Final = """
agents:
  - name: writer
    model: scripted:/etc/outlast/script.yaml
"""
WORDS: Final = " ".join(f"word{n}" for n in range(40))
SCRIPT: Final = f'turns: [{{steps: [{{text: "{WORDS}", delay_ms: 300}}]}}]'
"""An agent that says forty words slowly; its folder is mounted at /etc/outlast."""


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed; what it writes."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env=os.environ | (env or {}),
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


def make_base(folder: Path) -> None:
    """Make the base, a Debian with Python, unless it is there."""
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode:
        tar = folder / "base.tar"
        packages = "--include=python3,python3-venv,ca-certificates"
        run("mmdebstrap", "--variant=minbase", packages, "trixie", str(tar))
        run("podman", "import", str(tar), BASE)


def build(image: str, file: Path, context: Path, *options: str) -> None:
    """Build an image."""
    mounts = [f"--volume={path}:{path}:ro" for path in OF_HOST if Path(path).exists()]
    command = ["buildah", "bud", "--isolation=chroot", "--network=host", "--format=docker"]
    run(*command, *mounts, *options, f"--tag={image}", f"--file={file}", str(context))


def build_outlast(folder: Path) -> None:
    """Build the image of examples/deploy."""
    make_base(folder)
    file = ROOT / "examples" / "deploy" / "Dockerfile"
    build(IMAGE, file, ROOT, f"--build-arg=PYTHON={BASE}")
