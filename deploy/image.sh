#!/usr/bin/env bash
# image.sh build [WORK_DIR]: builds the image `quantd` from the Dockerfile, with
#     Docker where its engine runs, or else with buildah on a base image made by
#     debootstrap (as root, without any daemon).
# image.sh try [WORK_DIR]: starts the server out of the image, read-only and not
#     as root, runs a job on the bundled model and verifies what it downloads.
#
# WORK_DIR (default: build/image) keeps the base image between runs.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
verb=${1:-}
work=${2:-$root/build/image}
tag=quantd
base=quantd-base
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

has_docker() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }
say() { printf '\n== %s\n' "$*"; }
b() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }

need_buildah() {
  local missing=()
  for tool in buildah debootstrap; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "image: installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "${missing[@]}" >/dev/null
  fi
  mkdir -p "$work"
}

make_base() {
  [ -z "$(b images -q "$base" 2>/dev/null)" ] || return 0
  say "A base image: Debian 12, minimal"
  rm -rf "$work/base"
  debootstrap --variant=minbase bookworm "$work/base" "$mirror" >"$work/debootstrap.log"
  # What the slim images leave out, too.
  rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/* \
    "$work"/base/usr/share/{doc,man,locale,info}/*
  local container
  container=$(b from scratch)
  b add -q "$container" "$work/base" / >/dev/null
  b commit -q --rm "$container" "$base" >/dev/null
  rm -rf "$work/base"
}

build() {
  if has_docker; then
    docker build -t "$tag" "$root"
    docker image inspect --format 'image: {{.Size}} bytes' "$tag"
    return
  fi
  need_buildah
  make_base
  say "The image, from the Dockerfile"
  b bud --isolation chroot --network host --format docker \
    --build-arg BASE="localhost/$base" -t "$tag" "$root"
  local size base_size
  size=$(b inspect --type image --format '{{.FromImageID}}' "$tag" >/dev/null &&
    b images --format '{{.Size}}' "$tag")
  base_size=$(b images --format '{{.Size}}' "$base")
  say "Image $size, of which the base is $base_size"
}

port=50951
container=
server=
cleanup() {
  # The signal goes to the server itself: the runtime around it passes none on.
  [ -z "$server" ] || pkill -TERM -f "quantd --listen 127.0.0.1:$port" || true
  [ -z "$server" ] || wait "$server" || true
  [ -z "$container" ] || b rm "$container" >/dev/null || true
}

# Runs a program of the image as its user.
inside() {
  b run --isolation chroot --network host --user quantd \
    -v "$root/examples:/models:ro" -v "$work/data:/var/lib/quantd" \
    "$container" -- "$@"
}

try() {
  trap cleanup EXIT
  rm -rf "$work/data"
  mkdir -p "$work/data"
  chmod 777 "$work/data"
  if has_docker; then
    docker run --rm --read-only --network host -v "$root/examples:/models:ro" \
      -v "$work/data:/var/lib/quantd" "$tag" --listen "127.0.0.1:$port" \
      --http-listen 127.0.0.1:0 &
    server=$!
    inside() { docker run --rm --network host -v "$work/data:/var/lib/quantd" \
      --entrypoint "$1" "$tag" "${@:2}"; }
  else
    need_buildah
    container=$(b from "$tag")
    inside quantd --listen "127.0.0.1:$port" --http-listen 127.0.0.1:0 \
      >"$work/server.log" 2>&1 &
    server=$!
  fi
  say "The server of the image answers"
  for _ in $(seq 100); do
    inside quantctl health --server "127.0.0.1:$port" 2>/dev/null && break
    sleep 0.2
  done
  say "A job"
  inside quantctl submit --server "127.0.0.1:$port" server:tiny-own-pad768-bf16 \
    --scheme W4A16 --gate 'min_sqnr_db>=15' --wait --output /var/lib/quantd/result
  inside quantctl verify /var/lib/quantd/result
  inside id
}

case $verb in
  build) build ;;
  try) try ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
