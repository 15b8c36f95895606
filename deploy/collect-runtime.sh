#!/bin/sh
# Collects a program and all it needs at run time into a folder that can be the root of an image.
#
#   collect-runtime.sh /usr/bin/satchel /rootfs
#
# Taken along: the program, the shared libraries ldd names, the CA certificates, the user, and for
# each Debian package a library comes from its entry of the package database (var/lib/dpkg/status.d)
# and its copyright file, so that scanners still see what is in the image.
set -eu
program=$1
root=$2

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/satchel" "$root/var/lib/dpkg/status.d" "$root/tmp"
chmod 1777 "$root/tmp"
# Debian keeps /bin and /lib as links into /usr; the loader is looked for under /lib64.
for name in bin lib lib64; do
  mkdir -p "$root/usr/$name"
  ln -s "usr/$name" "$root/$name"
done

cp -p "$program" "$root$program"
needed=$(ldd "$program")
if printf '%s\n' "$needed" | grep -q 'not found'; then
  printf '%s\n' "$needed" >&2
  exit 1
fi

add() { # add FILE: the file itself under the name it is looked for
  target=$(realpath "$1")
  name=$1
  case "$name" in /lib/* | /lib64/*) name=/usr$name ;; esac
  mkdir -p "$root$(dirname "$name")"
  cp -pL "$target" "$root$name"
  note "$(dpkg-query -S "$target" "$1" 2>/dev/null | head -n 1 | cut -d: -f1)"
}

note() { # note PACKAGE: its database entry and its licence
  package=$1
  if [ -z "$package" ]; then return 0; fi
  dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
  if [ -r "/usr/share/doc/$package/copyright" ]; then
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
  fi
}

for library in $(printf '%s\n' "$needed" | grep -o '/[^ ]*'); do add "$library"; done
add /etc/ssl/certs/ca-certificates.crt
note ca-certificates # the bundle is made at installation and belongs to no package
if [ -r /etc/ssl/openssl.cnf ]; then
  mkdir -p "$root/usr/lib/ssl"
  cp -pL /etc/ssl/openssl.cnf "$root/etc/ssl/openssl.cnf"
  ln -s /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
fi
ln -sf /etc/ssl/certs "$root/usr/lib/ssl/certs"
grep '^satchel:' /etc/passwd >"$root/etc/passwd"
grep '^satchel:' /etc/group >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

# The proof that nothing is missing: the program runs with nothing but the folder.
chroot "$root" "$program" --version
