# What the commands in deploy/local share. Sourced by bash.

LOCAL=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd "$LOCAL/../.." && pwd -P)

# Where things are. Another folder and other first ports make a second installation beside the first. Paths are resolved, as /proc shows them.
SOUK_DIR=$(realpath -m "${SOUK_LOCAL_DIR:-$ROOT/.souk}")
HTTP_PORT=${SOUK_LOCAL_HTTP_PORT:-8080}   # souk-product; order, payment and sandbox follow
SHARD_PORT=${SOUK_LOCAL_SHARD_PORT:-7001} # shard-1; the others follow
BIN=$(realpath -m "${SOUK_LOCAL_BIN:-$ROOT/build/release/bin}") # when given, programs built elsewhere
ADDRESS=127.0.0.1
RUN=$SOUK_DIR/run LOG=$SOUK_DIR/log DATA=$SOUK_DIR/data PASSWORDS=$SOUK_DIR/passwords

SHARDS=(shard-1 shard-2 shard-3)
SERVICES=(souk-product souk-order souk-payment souk-sandbox)

say() { printf '%s\n' "$@"; } # each argument is a line

# What is wrong, then what to do.
die() {
    printf '%s\n' "$@" >&2
    exit 1
}

port_of() { # name
    case $1 in
    shard-*) echo $((SHARD_PORT + ${1#shard-} - 1)) ;;
    souk-product) echo "$HTTP_PORT" ;;
    souk-order) echo $((HTTP_PORT + 1)) ;;
    souk-payment) echo $((HTTP_PORT + 2)) ;;
    souk-sandbox) echo $((HTTP_PORT + 3)) ;;
    esac
}

url_of() { echo "http://$ADDRESS:$(port_of "$1")"; }

shard_list() { # as SOUK_SHARDS wants it
    local name list=''
    for name in "${SHARDS[@]}"; do
        list+=${list:+,}$name=$ADDRESS:$(port_of "$name")
    done
    echo "$list"
}

# The ring, for whatever is run here.
export_ring() {
    SOUK_SHARDS=$(shard_list)
    export SOUK_SHARDS SOUK_PARTITIONS=256 SOUK_RING_EPOCH=1
}

# Is process $2 the one that $1's pid file means? A pid is used again after a crash or a reboot, so the number alone proves nothing. A worker is known by
# its program; a shard, which becomes redis-server as any other does, by its directory, in which it begins.
is_process() { # name pid
    case $1 in
    shard-*) [[ $(readlink "/proc/$2/cwd") == "$DATA/$1" ]] ;;
    *) [[ $(readlink "/proc/$2/exe" 2>/dev/null) == "$BIN/$1"?(' (deleted)') ]] ;;
    esac
}

pid_of() { # name → its pid; fails if it does not run
    local pid
    pid=$(cat "$RUN/$1.pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] && is_process "$1" "$pid" && echo "$pid"
} 2>/dev/null

# Runs the program that stands in the build now, or one that was replaced since?
is_replaced() { # pid
    [[ $(readlink "/proc/$1/exe" 2>/dev/null) == *' (deleted)' ]]
}

port_answers() { # port: does anything listen there?
    (exec 3<>"/dev/tcp/$ADDRESS/$1") 2>/dev/null
}

# Waits until a command succeeds, at most $1 seconds; shows dots when it takes long.
wait_until() { # seconds command…
    local deadline=$((SECONDS + $1)) shown=0 began=$SECONDS
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            [ "$shown" = 0 ] || echo
            return 1
        fi
        if [ $((SECONDS - began)) -gt "$shown" ]; then
            printf .
            shown=$((shown + 1))
        fi
        sleep 0.05
    done
    [ "$shown" = 0 ] || echo
}

# One command at a time works on an installation. The lock ends with the command; what it starts must not inherit it (9>&-).
take_lock() {
    mkdir -p "$SOUK_DIR"
    exec 9>"$SOUK_DIR/lock"
    flock -n 9 || die "Another up or down is at work on $SOUK_DIR." "Wait until it has finished."
}
