#!/usr/bin/env bash
# Builds the image with buildah, without a daemon and, where no registry can be reached, without one:
# the base image then comes from debootstrap, out of the package sources this machine uses.
#
#   sudo deploy/build-image.sh [--tag NAME] [--base IMAGE] [--target STAGE] [--archive FILE]
#
#     --tag NAME      name of the image (default: satchel:VERSION)
#     --base IMAGE    a Debian 12 image to start from; without it debian:bookworm-slim is pulled, and
#                     when that fails a base is made by debootstrap
#     --target STAGE  runtime (default, only what the program loads) or debian (with Debian's tools)
#     --archive FILE  also writes the image as an OCI archive, for `docker load` or `podman load`
#
# Needs root (debootstrap and the chroot isolation do). At the end the program is run out of the
# image and the size is printed. Nothing of this machine's package setup stays in the image that is
# shipped: the runtime stage starts from scratch.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }
die() { echo "build-image.sh: $*" >&2; exit 1; }

version=$(sed -n 's/^project(satchel VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
tag=satchel:$version
base=''
target=runtime
archive=''
while [ $# -gt 0 ]; do
  case "$1" in
    --tag | --base | --target | --archive)
      [ $# -ge 2 ] || die "$1 needs a value"
      declare "${1#--}=$2"
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ "$(id -u)" -eq 0 ] || die "must be root (try sudo)"

missing=()
for tool in buildah debootstrap; do command -v $tool >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing: ${missing[*]}"
  apt-get -qq update || true
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

scratch=$(mktemp -d)
container=''
cleanup() {
  if [ -n "$container" ]; then buildah rm "$container" >/dev/null || true; fi
  rm -rf "$scratch"
}
trap cleanup EXIT

# Where the kernel offers no overlay mounts, the plain driver copies instead.
buildah info >/dev/null 2>&1 || export STORAGE_DRIVER=vfs
export BUILDAH_ISOLATION=chroot

# What this machine tells apt (a proxy, a mirror's key) holds inside the build too, as a mount: it
# is in no layer.
volumes=()
for entry in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
  [ -f "$entry" ] || continue
  grep -qiE '(proxy|Verify-Peer|CAInfo|Retries)' "$entry" || continue
  volumes+=(--volume "$entry:/etc/apt/apt.conf.d/90-host-$(basename "$entry"):ro")
done

# shellcheck disable=SC2016 # the $(...) below are apt-get's
main_mirror() { # the first binary source of bookworm in the machine's apt setup, whatever its form
  apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
    awk '$2 == "bookworm" && $3 == "main" { print $4; exit }'
}

# shellcheck disable=SC2016
make_base() {
  local mirror folder=$scratch/base
  mirror=$(main_mirror)
  [ -n "$mirror" ] || die "found no source for Debian 12 (bookworm) in this machine's apt setup"
  echo "Making a base image with debootstrap"
  if ! debootstrap --variant=minbase bookworm "$folder" "$mirror" >"$scratch/debootstrap.log" 2>&1; then
    tail -n 20 "$scratch/debootstrap.log" >&2
    die "debootstrap failed"
  fi
  # As Debian's own slim image: no package lists, documentation or translations.
  rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* \
    "$folder"/var/log/*.log "$folder"/usr/share/{man,locale,info,lintian}/*
  find "$folder/usr/share/doc" -type f ! -name copyright -delete
  printf '%s\n' 'path-exclude /usr/share/man/*' 'path-exclude /usr/share/locale/*' \
    'path-exclude /usr/share/doc/*' 'path-include /usr/share/doc/*/copyright' \
    >"$folder/etc/dpkg/dpkg.cfg.d/docker"
  # Security updates, when this machine has them too.
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
    awk '$1 ~ /^bookworm-(security|updates)$/ && $2 == "main" { print "deb", $3, $1, "main" }' | sort -u \
    >>"$folder/etc/apt/sources.list"
  container=$(buildah from scratch)
  buildah copy -q "$container" "$folder" / >/dev/null
  buildah config --cmd '["bash"]' "$container"
  buildah commit -q --rm "$container" satchel-base:bookworm >/dev/null
  container=''
  rm -rf "$folder"
  base=localhost/satchel-base:bookworm
}

if [ -z "$base" ]; then
  # The id that pull prints needs no registry setup of this machine.
  if base=$(timeout 60 buildah pull -q docker://debian:bookworm-slim 2>/dev/null); then
    :
  elif buildah inspect --type image localhost/satchel-base:bookworm >/dev/null 2>&1; then
    base=localhost/satchel-base:bookworm
  else
    echo "No base image can be pulled here"
    make_base
  fi
fi
echo "Base image: $base"

revision=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
buildah bud --isolation chroot --layers --format docker "${volumes[@]}" \
  --build-arg "BASE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
  --target "$target" --tag "$tag" --file "$root/Dockerfile" "$root"

# The program out of the finished image, with the image as its whole world.
container=$(buildah from --pull-never "$tag")
folder=$(buildah mount "$container")
echo "In the image: $(chroot --userspec=10001:10001 "$folder" /usr/bin/satchel --version | head -n 1)"
echo "Size: $(du -sm "$folder" | cut -f1) MiB unpacked, $(find "$folder" -name '*.so*' -type f | wc -l) shared libraries"
buildah umount "$container" >/dev/null
if [ -n "$archive" ]; then
  buildah push -q "$tag" "oci-archive:$archive:$tag"
  echo "Archive: $archive"
fi
echo "Image: $tag"
