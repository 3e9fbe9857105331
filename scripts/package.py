#!/usr/bin/env python3
"""Makes what people install out of a binary: an archive, a wheel, npm packages. The same input gives the same bytes.

    package.py binary BINARY --target TRIPLE --licences FILE --out FOLDER    what holds the binary of one platform
    package.py launcher --out FOLDER                                        the npm package that chooses one of them
    package.py sums FOLDER                                                  SHA256SUMS, the pins of the wheels, the installer

Version, description and licence are those of Cargo.toml.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
VERSION = CARGO["version"]

# The time of every file, 26 October 1985: npm's own choice, and late enough for a zip file.
TIME = 499162500
ZIP_TIME = (1985, 10, 26, 8, 15, 0)

# The npm package of each target, and what it says of where it runs.
NPM = {
    "x86_64-unknown-linux-gnu": ("linux-x64-gnu", {"os": ["linux"], "cpu": ["x64"], "libc": ["glibc"]}),
    "x86_64-unknown-linux-musl": ("linux-x64-musl", {"os": ["linux"], "cpu": ["x64"], "libc": ["musl"]}),
    "aarch64-unknown-linux-gnu": ("linux-arm64-gnu", {"os": ["linux"], "cpu": ["arm64"], "libc": ["glibc"]}),
    "aarch64-unknown-linux-musl": ("linux-arm64-musl", {"os": ["linux"], "cpu": ["arm64"], "libc": ["musl"]}),
    "x86_64-apple-darwin": ("darwin-x64", {"os": ["darwin"], "cpu": ["x64"]}),
    "aarch64-apple-darwin": ("darwin-arm64", {"os": ["darwin"], "cpu": ["arm64"]}),
}


def wheel_tag(target, binary):
    """Where a wheel with this binary may be installed. For Linux the binary itself tells what it needs."""
    machine = target.split("-")[0]
    if target.endswith("apple-darwin"):
        return "macosx_11_0_arm64" if machine == "aarch64" else "macosx_10_12_x86_64"
    needed = [int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", binary)]
    if target.endswith("musl"):
        if needed:
            raise SystemExit(f"error: a binary for {target} is to be static, and this one needs glibc")
        return f"musllinux_1_1_{machine}"
    minor = max([17, *needed])
    return f"manylinux_2_17_{machine}.manylinux2014_{machine}" if minor == 17 else f"manylinux_2_{minor}_{machine}"


def tar(path, files, level=9):
    """A .tar.gz of `{name: (bytes, mode)}`, in the order of the names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), mode, TIME
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(gzip.compress(packed.getvalue(), level, mtime=0))


def wheel(folder, target, binary, texts, level):
    tag = wheel_tag(target, binary)
    info = f"chatctl-{VERSION}.dist-info"
    metadata = [
        "Metadata-Version: 2.4",
        "Name: chatctl",
        f"Version: {VERSION}",
        f"Summary: {CARGO['description']}",
        f"License-Expression: {CARGO['license']}",
        *[f"License-File: {name}" for name in sorted(texts)],
        f"Project-URL: Source, {CARGO['repository']}",
        "Requires-Python: >=3.8",
        "Description-Content-Type: text/markdown",
        "",
        (ROOT / "README.md").read_text(),
    ]
    tags = [f"Tag: py3-none-{each}" for each in tag.split(".")]
    about = ["Wheel-Version: 1.0", "Generator: chatctl", "Root-Is-Purelib: false", *tags, ""]
    files = {f"chatctl-{VERSION}.data/scripts/chatctl": (binary, 0o755)}
    files |= {f"{info}/licenses/{name}": (text, 0o644) for name, text in texts.items()}
    files |= {f"{info}/METADATA": ("\n".join(metadata).encode(), 0o644), f"{info}/WHEEL": ("\n".join(about).encode(), 0o644)}
    record = []
    for name, (content, _) in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        record.append(f"{name},sha256={digest},{len(content)}\n")
    files[f"{info}/RECORD"] = ("".join([*record, f"{info}/RECORD,,\n"]).encode(), 0o644)
    with zipfile.ZipFile(folder / f"chatctl-{VERSION}-py3-none-{tag}.whl", "w") as archive:
        # By convention what describes a wheel stands at its end.
        for name in sorted(files, key=lambda name: (name.startswith(info), name)):
            content, mode = files[name]
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.external_attr, entry.compress_type, entry.create_system = (0o100000 | mode) << 16, zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, content, compresslevel=level)


def npm(folder, name, about, files, level=9):
    """An npm package as a tarball, under the name that `npm pack` gives it."""
    manifest = {
        "name": name,
        "version": VERSION,
        "description": CARGO["description"],
        "license": CARGO["license"],
        "repository": {"type": "git", "url": f"git+{CARGO['repository']}.git"},
        **about,
    }
    files = files | {"package.json": ((json.dumps(manifest, indent=2) + "\n").encode(), 0o644)}
    file = f"{name.removeprefix('@').replace('/', '-')}-{VERSION}.tgz"
    tar(folder / file, {f"package/{path}": content for path, content in files.items()}, level)


def own(*names):
    return {name: (ROOT / name).read_bytes() for name in names}


def plain(texts):
    return {name: (text, 0o644) for name, text in texts.items()}


def binary(arguments):
    content = arguments.binary.read_bytes()
    texts = own("LICENSE-APACHE", "LICENSE-MIT") | {"THIRD-PARTY.txt": arguments.licences.read_bytes()}
    program = {"chatctl": (content, 0o755)}
    files = program | plain(texts | own("README.md"))
    name = f"chatctl-{arguments.target}"
    tar(arguments.out / f"{name}.tar.gz", {f"{name}/{path}": file for path, file in files.items()}, arguments.level)
    wheel(arguments.out, arguments.target, content, texts, arguments.level)
    platform, where = NPM[arguments.target]
    npm(arguments.out, f"@chatctl/{platform}", where | {"preferUnplugged": True}, program | plain(texts), arguments.level)


def launcher(arguments):
    about = {
        "keywords": ["aws", "websocket", "api-gateway", "serverless", "cli"],
        "bin": {"chatctl": "chatctl.js"},
        "engines": {"node": ">=18"},
        "optionalDependencies": {f"@chatctl/{platform}": VERSION for platform, _ in NPM.values()},
    }
    files = {"chatctl.js": ((ROOT / "npm/chatctl.js").read_bytes(), 0o755)}
    npm(arguments.out, "chatctl", about, files | plain(own("LICENSE-APACHE", "LICENSE-MIT", "README.md")))


def sums(arguments):
    """Three files with hashes: for `sha256sum --check`, for `pip --require-hashes`, and the installer."""
    listed = sorted(path for path in arguments.folder.iterdir() if path.suffix in (".gz", ".whl", ".tgz"))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in listed}
    (arguments.folder / "SHA256SUMS").write_text("".join(f"{hash}  {name}\n" for name, hash in hashes.items()))
    pins = [f"--hash=sha256:{hash}" for name, hash in hashes.items() if name.endswith(".whl")]
    (arguments.folder / f"{VERSION}.txt").write_text(" \\\n    ".join([f"chatctl=={VERSION}", *pins]) + "\n")
    archives = "\n".join(f"{hash}  {name}" for name, hash in hashes.items() if name.endswith(".gz"))
    installer = (ROOT / "scripts/install.sh").read_text()
    for name, value in {"REPOSITORY": CARGO["repository"], "VERSION": VERSION, "SUMS": archives}.items():
        installer = installer.replace(f"@{name}@", value)
    file = arguments.folder / "install.sh"
    file.write_text(installer)
    file.chmod(0o755)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("binary")
    verb.set_defaults(run=binary)
    verb.add_argument("binary", type=Path)
    verb.add_argument("--target", choices=NPM, required=True)
    verb.add_argument("--licences", type=Path, required=True)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--level", type=int, default=9, help="of compression")
    verb = verbs.add_parser("launcher")
    verb.set_defaults(run=launcher)
    verb.add_argument("--out", type=Path, required=True)
    verb = verbs.add_parser("sums")
    verb.set_defaults(run=sums)
    verb.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if "out" in arguments:
        arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.run(arguments)


main()
