# shellcheck shell=bash
# What bench/run, bench/audit, bench/overload and bench/isolation share: a Release build, $shard_count shards and all workers on ports from $base on, products 1 to
# $products, where each lives in $dir/places, and in $dir/pairs pairs of them on the first two shards. Own directory; everything is gone afterwards. Expects $here, $top and $base.
shard_count=${shard_count:-2}
products=${SOUK_BENCH_PRODUCTS:-1000}
threads=${SOUK_BENCH_THREADS:-1}
dir=$(mktemp -d "${TMPDIR:-/tmp}/souk-bench.XXXXXX")
declare -A pids
# What goes before the command of a shard and of everything else: "taskset -c 0", say.
on_shards=() on_others=()
shard_options=()

say() { printf '%s\n' "$*" >&2; }

cleanup() {
    for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

start() { # start NAME COMMAND…
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pids[$name]=$!
}

wait_until() { # wait_until WHAT COMMAND…
    local what=$1
    shift
    for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
    say "bench: $what did not happen within 10 s; logs:"
    tail -n 5 "$dir"/*.log >&2
    exit 1
}

json() { python3 -c "import json, sys; print($1)"; }

# CPU time of a process so far, in µs.
cpu_of() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%d", ($12 + $13) * 1000000 / hz }' "/proc/${pids[$1]}/stat"; }

bench_start() { # builds, starts everything, loads the products
    "$top/deploy/local/packages" bench
    say "building (Release) …"
    cmake -S "$top" -B "$top/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$dir/build.log" 2>&1 && cmake --build "$top/build/release" >>"$dir/build.log" 2>&1 ||
        { tail -n 20 "$dir/build.log" >&2; exit 1; }
    bin=$top/build/release/bin

    shards=
    for i in $(seq "$shard_count"); do
        mkdir "$dir/shard$i"
        start shard$i "${on_shards[@]}" redis-server "$top/deploy/redis/redis.conf" --port $((base + i)) --bind 127.0.0.1 --dir "$dir/shard$i" --daemonize no "${shard_options[@]}"
        shards+=${shards:+,}shard-$i=127.0.0.1:$((base + i))
    done
    for i in $(seq "$shard_count"); do wait_until "shard $i answering" redis-cli -p $((base + i)) PING; done
    export SOUK_SHARDS=$shards SOUK_THREADS=$threads SOUK_LOG_LEVEL=warn
    "$bin/soukctl" init >&2
    "$bin/soukctl" load >&2
    SOUK_HTTP_PORT=$((base + 80)) start product "${on_others[@]}" "$bin/souk-product"
    SOUK_HTTP_PORT=$((base + 81)) start order "${on_others[@]}" "$bin/souk-order"
    SOUK_HTTP_PORT=$((base + 83)) SOUK_JOURNAL=$dir/journal start sandbox "${on_others[@]}" "$bin/souk-sandbox"
    SOUK_HTTP_PORT=$((base + 82)) SOUK_GATEWAY_URL=http://127.0.0.1:$((base + 83)) start payment "${on_others[@]}" "$bin/souk-payment"
    for port in 80 81 82; do wait_until "worker on $((base + port)) ready" curl -fsS "http://127.0.0.1:$((base + port))/readyz"; done

    say "loading $products products …"
    for id in $(seq "$products"); do
        printf 'next\nurl = "http://127.0.0.1:%d/products/%d"\nrequest = PUT\nheader = "If-None-Match: *"\nheader = "Content-Type: application/json"\ndata = "{\\"name\\":\\"Product %d\\",\\"price\\":10.99,\\"stock\\":1000000}"\noutput = /dev/null\nsilent\n' \
            $((base + 80)) "$id" "$id"
    done | sed 1d | curl -K - >/dev/null
    # Pairs of products on different shards.
    for id in $(seq "$products"); do printf '%d %s\n' "$id" "$("$bin/soukctl" ring "$id")"; done >"$dir/places"
    awk '{ sub(",", "", $3) } $4 == "shard-1" { a[++na] = $1 } $4 == "shard-2" { b[++nb] = $1 }
        END { for (i = 1; i <= (na < nb ? na : nb); i++) print a[i], b[i] }' "$dir/places" >"$dir/pairs"
}
