#!/bin/sh
# Usage: directories.sh ROOT USER GROUP
# Makes the directories of the defaults below ROOT (/ on a real system): for configuration and certificates, which the
# service may only read, and for its state, which nobody else may write.
set -eu
root=${1%/}
install -d -m 0755 "$root/etc/horizon" "$root/etc/horizon/certs"
install -d -m 0750 -o "$2" -g "$3" "$root/var/lib/horizon" "$root/var/lib/horizon/telemetry" \
    "$root/var/lib/horizon/spool"
