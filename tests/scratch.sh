# Sourced by what runs tests: where they keep their data, which is gone at the end. TMPDIR, if it is set, is taken as it is.
#
# Else it is in memory, where there is room. A shard waits for its disk with every write, and the disk of a shared machine stands still for seconds now
# and then: it would decide which tests pass. What disks do is made by the tests that are about it, with what was not synced lost (tests/lib/shard_disk.h).

scratch_in_memory() {
    local free
    [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && ! grep -q '^[^ ]* /dev/shm [^ ]* [^ ]*noexec' /proc/mounts || return
    free=$(df --output=avail -k /dev/shm | tail -n 1)
    [ "$free" -ge $((4 << 20)) ]
}

if [ -z "${TMPDIR:-}" ] && scratch_in_memory; then
    TMPDIR=$(mktemp -d /dev/shm/souk-tests.XXXXXX)
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
fi
