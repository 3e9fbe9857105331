#!/bin/sh
# Installs chatctl @VERSION@: the archive for this machine, whose hash stands below, into ~/.local/bin or the folder after `--to`.
# Asks nothing, changes nothing else. `--from` is another address for the archives. A release fills in what stands between @ here.
set -eu

from=@REPOSITORY@/releases/download/v@VERSION@
sums='
@SUMS@
'

fail() {
    printf 'error: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf 'hint: %s\n' "$2" >&2; fi
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# The target that this machine is.
target() {
    machine=$(uname -m)
    case $machine in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) fail "there is no chatctl for \`$machine\`" "with Rust, \`cargo install\` builds one" ;;
    esac
    case $(uname -s) in
    Linux)
        # The static one runs where the C library is another, or too old.
        case $(getconf GNU_LIBC_VERSION 2>/dev/null) in
        'glibc 2.'[0-9] | 'glibc 2.1'[0-6] | 'glibc 2.'[0-9].* | 'glibc 2.1'[0-6].* | '') echo "$machine-unknown-linux-musl" ;;
        *) echo "$machine-unknown-linux-gnu" ;;
        esac
        ;;
    Darwin)
        # What runs under Rosetta takes this machine for another one.
        if [ "$(sysctl -n hw.optional.arm64 2>/dev/null)" = 1 ]; then machine=aarch64; fi
        echo "$machine-apple-darwin"
        ;;
    *) fail "there is no chatctl for \`$(uname -s)\`" 'in WSL there is: that of Linux' ;;
    esac
}

fetch() {
    if has curl; then
        curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"
    elif has wget; then
        wget -q -O "$2" "$1"
    else
        fail "neither \`curl\` nor \`wget\` is here"
    fi
}

hash_of() {
    if has sha256sum; then
        sha256sum <"$1"
    elif has shasum; then
        shasum -a 256 <"$1"
    else
        fail "neither \`sha256sum\` nor \`shasum\` is here"
    fi
}

main() {
    to=${HOME:-}/.local/bin
    while [ $# -gt 0 ]; do
        case "$1 $#" in
        '--to '[2-9]*) to=$2 ;;
        '--from '[2-9]*) from=$2 ;;
        *) fail "unknown argument \`$1\`" 'usage: install.sh [--to FOLDER] [--from ADDRESS]' ;;
        esac
        shift 2
    done
    target=$(target)
    name=chatctl-$target
    wanted=$(printf '%s' "$sums" | sed -n "s/^\([0-9a-f]\{64\}\)  $name\.tar\.gz\$/\1/p")
    [ -n "$wanted" ] || fail "this installer knows no hash of \`$name.tar.gz\`"

    temporary=$(mktemp -d)
    new=
    trap 'rm -rf "$temporary" ${new:+"$new"}' EXIT
    trap 'exit 130' HUP INT TERM
    fetch "$from/$name.tar.gz" "$temporary/archive" || fail "\`$from/$name.tar.gz\` cannot be had"
    found=$(hash_of "$temporary/archive")
    found=${found%% *}
    [ "$found" = "$wanted" ] || fail "\`$name.tar.gz\` is not what was released: its hash is \`$found\`, and not \`$wanted\`" \
        'nothing was installed'
    tar -xzf "$temporary/archive" -C "$temporary" "$name/chatctl"
    mkdir -p "$to"
    # Whole or not at all, and it runs before it is there.
    new=$to/.chatctl.$$
    cp "$temporary/$name/chatctl" "$new"
    chmod 755 "$new"
    version=$("$new" --version) || fail 'it does not run on this machine' 'nothing was installed'
    mv -f "$new" "$to/chatctl"
    printf '%s is in %s\n' "$version" "$to" >&2
    case :$PATH: in
    *:"$to":*) ;;
    *) printf "hint: that folder is not on the PATH; this adds it for a shell: export PATH=\"%s:\$PATH\"\\n" "$to" >&2 ;;
    esac
}

# Last, so that a half of this file does nothing.
main "$@"
