#!/bin/sh
# Within User Mode Linux: runs tests of the host's checkout with the host's interpreter, and powers off.
# Of the host only what is mounted here can be seen.
set -eu
. /srv/asked
mount -t tmpfs tmpfs /tmp
for shown in "$CHECKOUT" "$PREFIX"; do
    mkdir -p "$shown"
    mount -t hostfs none "$shown" -o "$shown"
done
ip link set lo up
# slurmd wants an address that is not loopback's.
ip address add 192.0.2.1/32 dev lo
cd "$CHECKOUT"
status=0
PATH="$CHECKOUT/.venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 \
    python -m pytest -p no:cacheprovider -n 0 $TESTS >/srv/tests.log 2>&1 || status=$?
echo "$status" >/srv/status
