#!/usr/bin/env bash
# Installs what the build, the demo and the tests use, from Debian 12's own
# packages. Asks apt only for what dpkg does not already know, so a second run
# takes no time and needs no network. Packages can be named besides:
# deps.sh lintian debootstrap.
set -euo pipefail

packages=(
  # Tools.
  ca-certificates ccache cmake curl g++ git make mold ninja-build openssl
  pkg-config
  # The stack: gRPC, Protobuf and Abseil.
  libabsl-dev libgrpc++-dev libprotobuf-dev protobuf-compiler
  protobuf-compiler-grpc
  # SIMD, matrix products, digests, storage, formats, tokenizers, command line,
  # logs, metrics, HTTP.
  libcivetweb-dev libcli11-dev libdnnl-dev libhwy-dev libpcre2-dev libre2-dev
  libspdlog-dev libsqlite3-dev libssl-dev libutf8proc-dev libxxhash-dev
  libyaml-cpp-dev nlohmann-json3-dev prometheus-cpp-dev
  # Tests and benchmarks: grpcurl and Helm are built with Go, the independent
  # reader of artifacts runs in a Python virtual environment.
  golang-go libbenchmark-dev libgmock-dev libgtest-dev prometheus python3
  python3-venv python3-yaml
  # Readers of the manual, and shells that complete.
  fish groff-base mandoc zsh
  # The Debian package.
  dpkg-dev file
  "$@"
)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps: no apt here; these Debian packages name what is needed:" >&2
  printf '  %s\n' "${packages[@]}" >&2
  exit 0  # CMake will say what it misses
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "deps: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "deps: run as root, or install sudo; missing: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}
install() { apt install -y --no-install-recommends "${missing[@]}"; }

echo "deps: installing ${missing[*]}"
# The package lists may be absent (a bare machine) or stale (a pruned mirror).
if ! apt-cache policy "${missing[@]}" 2>/dev/null | grep -q 'Candidate: [0-9]' ||
    ! install; then
  apt update
  install
fi
