# Sourced by what runs tests: they keep their data in a directory of this run, which goes when it ends well. When it does not, what they left stays to be
# looked at, and is named.
#
# It is in TMPDIR, else in memory, where there is room. A shard waits for its disk with every write, and what else a shared machine does to its disk would
# decide which tests pass. What disks do is made by the tests that are about it, with what was not synced lost (tests/lib/shard_disk.h).

scratch_in_memory() {
    local free
    [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && ! grep -q '^[^ ]* /dev/shm [^ ]* [^ ]*noexec' /proc/mounts || return
    free=$(df --output=avail -k /dev/shm | tail -n 1)
    [ "$free" -ge $((4 << 20)) ]
}

scratch_end() { # exit status
    [ "$1" != 0 ] || rm -rf "$TMPDIR"
    [ ! -d "$TMPDIR" ] || rmdir "$TMPDIR" 2>/dev/null || echo "What the tests have left is in $TMPDIR; remove it when you have looked at it."
}

if [ -z "${TMPDIR:-}" ] && scratch_in_memory; then
    TMPDIR=/dev/shm
fi
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/souk-tests.XXXXXX")
export TMPDIR
trap 'scratch_end $?' EXIT
