#!/usr/bin/env python3
"""Prints the licences of everything that is linked into the binary: `licences.py TARGET…`, one or more target triples.

Each text stands once, below the names of those that it belongs to. What carries no text of its own is given the one that
comes with chatctl: of the Apache License, or else of the MIT License in the name of its authors.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = re.compile(r"(licen[cs]e|copying|notice|unlicense|copyright)", re.IGNORECASE)


def linked(target):
    """The packages that a binary for `target` is linked of, by name and version."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in found["packages"]}
    needs = {
        node["id"]: [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        for node in found["resolve"]["nodes"]
    }
    reached, open_ends = set(), [id for id in packages if packages[id]["name"] == "chatctl"]
    while open_ends:
        id = open_ends.pop()
        if id not in reached:
            reached.add(id)
            open_ends += needs[id]
    theirs = [packages[id] for id in reached if packages[id]["source"]]
    return {(package["name"], package["version"]): package for package in theirs}


def added(targets):
    """What the compiler links beside them: its library and, for a static binary, that of C."""
    version = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    yield {"name": "std", "version": version, "license": "MIT OR Apache-2.0"}
    if any(target.endswith("musl") for target in targets):
        yield {"name": "musl", "version": "1.2.5", "license": "MIT", "authors": ["2005-2020 Rich Felker, et al."]}


def texts(package):
    if "manifest_path" not in package:
        return [standard(package)]
    folder = Path(package["manifest_path"]).parent
    files = {path for path in folder.iterdir() if path.is_file() and TEXT.match(path.name) and path.suffix != ".rs"}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    return [path.read_text(errors="replace").replace("\r\n", "\n").strip() for path in sorted(files)] or [standard(package)]


def standard(package):
    name, license = package["name"], package["license"] or ""
    if "Apache-2.0" in license:
        return (ROOT / "LICENSE-APACHE").read_text().strip()
    if "MIT" not in license:
        sys.exit(f"error: {name} has no text of its licence, and `{license}` is none that is known here")
    holders = ", ".join(re.sub(r" *<.*?>", "", author) for author in package["authors"]) or f"the {name} authors"
    return re.sub(r"(?m)^Copyright .*$", f"Copyright (c) {holders}", (ROOT / "LICENSE-MIT").read_text()).strip()


def main():
    packages = {key: package for target in sys.argv[1:] for key, package in linked(target).items()}
    packages |= {(package["name"], package["version"]): package for package in added(sys.argv[1:])}
    print("chatctl is linked of these packages, all from crates.io but Rust's `std` and, where it is static, musl.\n")
    belongs = {}
    for (name, version), package in sorted(packages.items()):
        print(f"{name} {version}: {package['license']}")
        for text in texts(package):
            # The same words in other lines are the same text.
            belongs.setdefault(" ".join(text.split()), (text, []))[1].append(f"{name} {version}")
    for text, names in sorted(belongs.values(), key=lambda pair: pair[1]):
        print(f"\n{'-' * 80}\n{', '.join(names)}\n\n{text}")


main()
