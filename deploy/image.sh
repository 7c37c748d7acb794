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
  say "Image $size, of which the base is $base_size: beyond it" \
    "$(echo "$size $base_size" | awk '$2 == "MB" && $4 == "MB" {print $1 - $3}') MB"
}

port=50951
http_port=50952
container=
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" || true
  [ -z "$container" ] || b rm "$container" >/dev/null || true
}

die() {
  echo "FAILED: $*" >&2
  exit 1
}
# What the image says of itself: one thing, or the lines of a list.
config() { b inspect --type image --format "{{.OCIv1.Config.$1}}" "$tag"; }
config_list() {
  b inspect --type image \
    --format "{{range .OCIv1.Config.$1}}{{println .}}{{end}}" "$tag" | sed '/^$/d'
}

# Runs a program of the image as its user, with its environment, on a root that is
# mounted read-only; only the data directory can be written. By hand, since
# buildah has no flag for it. Mounts live as long as the program.
inside() {
  local mounted variables
  mounted=$(b mount "$container")
  mapfile -t variables < <(config_list Env)
  mkdir -p "$mounted/models" "$mounted/proc" "$mounted/dev"
  exec unshare --mount --propagation private sh -c '
    root=$0 models=$1 data=$2 user=$3
    shift 3
    mount --bind "$root" "$root" && mount -o remount,ro,bind "$root" &&
      mount --bind /proc "$root/proc" && mount --bind /dev "$root/dev" &&
      mount --bind "$models" "$root/models" &&
      mount -o remount,ro,bind "$root/models" &&
      mount --bind "$data" "$root/var/lib/quantd" &&
      exec chroot --userspec="$user" "$root" env -i "$@"
  ' "$mounted" "$root/examples" "$work/data" "$(config User)" \
    "${variables[@]}" "$@"
}

# The image's health check, on the port of this run.
healthy() {
  local check
  mapfile -t check < <(b inspect --type image --format \
    '{{range .Docker.Config.Healthcheck.Test}}{{println .}}{{end}}' "$tag" | sed '/^$/d')
  [ "${check[0]}" = CMD ] || die "no health check: ${check[*]}"
  (inside "${check[@]:1:2}" "${check[3]//8080/$1}") 2>/dev/null
}

start_docker() {
  docker run --rm --read-only --network host -v "$root/examples:/models:ro" \
    -v "$work/data:/var/lib/quantd" "$tag" --listen "127.0.0.1:$port" \
    --http-listen 127.0.0.1:0 &
  server=$!
  inside() { docker run --rm --read-only --network host \
    -v "$work/data:/var/lib/quantd" --entrypoint "$1" "$tag" "${@:2}"; }
}

start_buildah() {
  need_buildah
  container=$(b from "$tag")
  (inside "$(config_list Entrypoint)" --listen "127.0.0.1:$port" \
    --http-listen "127.0.0.1:$http_port") >"$work/server.log" 2>&1 &
  server=$!
  [ "$(config StopSignal)" = SIGTERM ] || die "the stop signal is $(config StopSignal)"
}

try() {
  trap cleanup EXIT
  rm -rf "$work/data"
  mkdir -p "$work/data"
  chown 10001:10001 "$work/data"
  if has_docker; then start_docker; else start_buildah; fi
  say "The server of the image answers"
  for _ in $(seq 100); do
    (inside quantctl health --server "127.0.0.1:$port") 2>/dev/null && break
    sleep 0.2
  done
  (inside quantctl health --server "127.0.0.1:$port") || die "it does not answer"
  if [ -n "$container" ]; then
    say "The health check tells a server from none"
    healthy "$http_port" || die "the health check fails"
    ! healthy 9 || die "the health check can't fail"
  fi
  say "It can't write what is not its data, and is not root"
  local path said
  for path in /models /usr/local/bin /tmp /etc/quantd; do
    said=$( (inside touch "$path/x") 2>&1) && die "$path can be written"
    grep -q "Read-only file system" <<<"$said" || die "$path: $said"
  done
  said=$(inside id)
  echo "$said"
  [[ $said == "uid=10001(quantd) gid=10001(quantd)"* ]] || die "it has another user"
  say "A job"
  (inside quantctl submit --server "127.0.0.1:$port" server:tiny-own-pad768-bf16 \
    --scheme W4A16 --gate 'min_sqnr_db>=15' --wait --output /var/lib/quantd/result)
  (inside quantctl verify /var/lib/quantd/result)
  say "It stops when told so"
  kill -TERM "$server"
  wait "$server" || die "it ended with $?"
  server=
}

case $verb in
  build) build ;;
  try) try ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
