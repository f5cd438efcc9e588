#!/bin/sh
# tools/setup.sh -- installs what is missing, and says nothing when nothing is.
#
# usage: tools/setup.sh GROUP...      build, test, interop, python, rust, lint, spec, run, bench
#        tools/setup.sh --venv STAMP REQUIREMENTS...
#        tools/setup.sh --npm STAMP FOLDER
#        tools/setup.sh --go PROGRAM FOLDER
#
# The groups are Debian packages; they are installed with apt-get, as root or by sudo, and only when one is
# missing. The second form puts pinned Python packages into the environment build/venv and then makes STAMP; the third
# puts what FOLDER's package-lock.json pins beside STAMP, where the machine has npm; the fourth builds FOLDER's PROGRAM, where it has go.
set -eu
cd "$(dirname "$0")/.."

packages_of() {
    case $1 in
    build)
        echo gcc g++ libc6-dev make cmake ninja-build pkgconf liblmdb-dev libxxhash-dev libmsgpack-dev libsodium-dev libnng-dev libyaml-dev libmicrohttpd-dev
        echo check python3 # its unit tests are part of the build
        ;;
    test)
        echo clang-14 libclang-rt-14-dev llvm-14 # the last names the functions in reports
        echo prometheus # scrapes a node; its promtool reads metrics and rules
        echo systemd    # its systemd-analyze reads the unit
        case $(dpkg --print-architecture) in
        amd64) echo gcc-12-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static ;;
        esac
        ;;
    python) echo python3 python3-venv python3-dev ;;
    interop) # of one's own they are as good
        command -v npm >/dev/null || echo npm
        command -v go >/dev/null || echo golang-go
        ;;
    rust) command -v cargo >/dev/null || echo cargo rustc ;; # a cargo of one's own is as good
    lint) echo clang-format-14 clang-tidy-14 python3 shellcheck ;;
    spec) echo default-jre-headless ;;
    run) echo dataset-fashion-mnist ;;
    bench) echo dataset-fashion-mnist wrk ;;
    *)
        echo "tools/setup.sh: no group '$1' (build, test, interop, python, rust, lint, spec, run, bench)" >&2
        exit 2
        ;;
    esac
}

is_installed() {
    case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
    *' installed') return 0 ;;
    *) return 1 ;;
    esac
}

install_packages() {
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        echo "tools/setup.sh: as root, please run: apt-get install$*" >&2
        exit 1
    fi
    echo "installing:$*" >&2
    apt_get="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
    # Lists that are old or not there at all are the usual reason for a failure, and the next line mends it.
    # shellcheck disable=SC2086  # a command with its arguments
    $apt_get install --no-install-recommends "$@" >/dev/null 2>&1 ||
        { $apt_get update && $apt_get install --no-install-recommends "$@" >/dev/null; }
}

if [ "${1:-}" = --venv ]; then
    stamp=$2
    shift 2
    [ -x build/venv/bin/python ] || python3 -m venv build/venv
    for requirements in "$@"; do
        build/venv/bin/python -m pip install -q --disable-pip-version-check -r "$requirements"
    done
    mkdir -p "$(dirname "$stamp")"
    touch "$stamp"
    exit 0
fi

if [ "${1:-}" = --npm ]; then
    if ! command -v npm >/dev/null; then
        echo "tools/setup.sh: no npm, so what needs its packages is skipped" >&2
        exit 0
    fi
    into=$(dirname "$2")
    mkdir -p "$into"
    cp "$3/package.json" "$3/package-lock.json" "$into"
    npm ci --prefix "$into" --silent --ignore-scripts --no-audit --no-fund
    touch "$2"
    exit 0
fi

if [ "${1:-}" = --go ]; then
    if ! command -v go >/dev/null; then
        echo "tools/setup.sh: no go, so what needs $2 is skipped" >&2
        exit 0
    fi
    program=$(realpath -m "$2")
    cd "$3"
    go build -o "$program"
    exit 0
fi

if ! command -v dpkg-query >/dev/null; then
    echo "tools/setup.sh: not a Debian system; its packages must be there under other names:" >&2
    for group in "$@"; do packages_of "$group" >&2; done
    exit 0
fi
missing=
for group in "$@"; do
    packages=$(packages_of "$group")
    for package in $packages; do
        is_installed "$package" || missing="$missing $package"
    done
done
# shellcheck disable=SC2086  # one word per package
[ -z "$missing" ] || install_packages $missing
