#!/usr/bin/env bash
# install_deb.sh BUILD_DIR: builds the Debian package, asks lintian and systemd what
# they think of it, then installs it with apt into a fresh Debian 12, as root and
# without a daemon: runs a job as its user, upgrades, removes and purges it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
work=$build/deb_install
root=$work/root
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

say() { printf '== %s\n' "$*"; }
die() {
  echo "FAILED: $*" >&2
  exit 1
}
# Mounts live as long as the command.
inside() {
  unshare --mount --propagation private sh -c '
    mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" &&
      exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"' "$root" "$@"
}
expect() {  # expect TEXT COMMAND...: the command's output has TEXT
  local text=$1 out
  shift
  out=$("$@" 2>&1) || die "$* ended with $?: $out"
  grep -q -- "$text" <<<"$out" || die "$*: no $text in: $out"
}

[ "$(id -u)" -eq 0 ] || die "run as root: this makes a chroot"
mkdir -p "$work"

say "The package"
rm -rf "$work/package"
(cd "$build" && cpack -G DEB -B "$work/package") >"$work/cpack.log" 2>&1 ||
  die "cpack: $(tail -5 "$work/cpack.log")"
deb=$(echo "$work"/package/*.deb)
lintian --allow-root --fail-on error,warning "$deb"
unit=$here/../../deploy/debian/quantd.service
systemd-analyze security --no-pager --offline=true --threshold=20 "$unit" | tail -1

say "A fresh Debian 12 (kept as $work/base.tar)"
if [ ! -f "$work/base.tar" ]; then
  rm -rf "$root"
  debootstrap --variant=minbase bookworm "$root" "$mirror" >"$work/debootstrap.log"
  tar -C "$root" -cf "$work/base.tar.part" .
  mv "$work/base.tar.part" "$work/base.tar"
fi
rm -rf "$root"
mkdir "$root"
tar -C "$root" -xf "$work/base.tar"
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
# What a chroot must not do: start services.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"

say "Installation"
cp "$deb" "$root/tmp/quantd.deb"
inside apt-get -qq update
inside apt-get -qq install -y --no-install-recommends /tmp/quantd.deb >"$work/apt.log" 2>&1 ||
  die "apt: $(tail -5 "$work/apt.log")"
expect "quantd:x:" inside getent passwd quantd
expect "750 quantd quantd" inside stat -c '%a %U %G' /var/lib/quantd
[ -L "$root/etc/systemd/system/multi-user.target.wants/quantd.service" ] ||
  die "the service is not enabled"
[ -f "$root/usr/share/man/man8/quantd.8.gz" ] || die "no man page"

say "A job, as the user quantd, on the configuration of the package"
cp -r "$here/../../examples/tiny-own-pad768-bf16" "$root/srv/model"
cat >"$root/tmp/job.sh" <<'JOB'
set -e
export QUANT_LISTEN=127.0.0.1:50963 QUANT_HTTP_LISTEN=127.0.0.1:0
export QUANT_SERVER=$QUANT_LISTEN
quantd --config /etc/quantd/quantd.yaml 2>/tmp/quantd.log &
quantctl submit /srv/model --scheme W4A16 --gate 'min_sqnr_db>=15' --wait --output /tmp/out
quantctl verify /tmp/out
kill -TERM $!
wait $!
JOB
expect "verified" inside setpriv --reuid quantd --regid quantd --clear-groups \
  sh /tmp/job.sh

say "Upgrade: a changed conffile and the data stay"
echo "workers: 1" >>"$root/etc/quantd/quantd.yaml"
inside dpkg --force-confold -i /tmp/quantd.deb >"$work/dpkg.log" 2>&1 ||
  die "dpkg: $(tail -5 "$work/dpkg.log")"
grep -q "^workers: 1" "$root/etc/quantd/quantd.yaml" || die "the conffile is lost"
[ -f "$root/var/lib/quantd/queue.sqlite" ] || die "the data are lost"

say "Removal and purge"
inside dpkg --remove quantd >>"$work/dpkg.log" 2>&1
[ ! -e "$root/usr/bin/quantd" ] || die "quantd is still there"
[ -f "$root/etc/quantd/quantd.yaml" ] || die "the conffile went too early"
expect "is kept" inside dpkg --purge quantd
[ ! -e "$root/etc/quantd/quantd.yaml" ] || die "the conffile is still there"
[ -f "$root/var/lib/quantd/queue.sqlite" ] || die "the data are lost"
rm -rf "$root"
echo ok
