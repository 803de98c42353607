#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <uv.h>

/*
 * souk-bench-open PORT PAIRS RATE SECONDS CONNECTIONS: POST /orders in an open loop. RATE requests a second fall due whatever becomes of those before;
 * each goes out on an idle connection, or waits for one, and its latency counts from when it fell due. wrk cannot show what an overload does: its
 * connections wait for answers, so a slow server is asked less. RATE 0 is such a closed loop, for comparison: every idle connection asks at once.
 *
 *   every ms: those that fell due ─▶ waiting ─▶ idle connections ─▶ send ··· answer ─▶ counted, connection idle again
 *
 * Rates and latencies are of the answers that came between WARM_UP_MS after the beginning and the end: neither the time until the first answer nor what
 * had piled up and is answered after the end belongs to them. PAIRS has one pair of product ids a line (bench/common.sh). Prints one fact a line.
 */
#define BODIES 1024
#define WARM_UP_MS 1000
#define WAITING_MAX (1 << 20)
#define LATENCIES_MAX (1 << 22)
#define GRACE_MS 6000 /* for the last answers */

struct connection {
    struct load *load;
    uv_tcp_t tcp;
    uv_connect_t connect;
    char request[512], answer[16384];
    size_t answer_len;
    int64_t due_us;
    bool up;
    struct connection *next_idle;
};

struct latencies {
    uint32_t *us;
    size_t count;
};

struct load {
    uv_loop_t loop;
    uv_timer_t tick;
    struct connection *connections, *idle;
    unsigned connection_count;
    struct sockaddr_in address;
    char bodies[BODIES][160];
    int64_t *waiting; /* when each fell due; a ring */
    uint64_t first_waiting, due, most_waiting, sent, under_way;
    int64_t began_us, measured_us, end_us;
    double rate;
    char run[32];
    /* What came of them. */
    uint64_t created, refused, without_retry_after, conflicts, server_errors, others, broken;
    uint64_t created_measured, refused_measured;
    struct latencies accepted, turned_away;
};

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

static void add_latency(struct latencies *latencies, bool measured, int64_t us)
{
    if (measured && latencies->count < LATENCIES_MAX)
        latencies->us[latencies->count++] = (uint32_t)us;
}

static void dispatch(struct load *load);
static void open_connection(struct connection *connection);

/* ---- answers ---- */

static void count_answer(struct connection *connection, int status)
{
    struct load *load = connection->load;
    int64_t now = now_us();
    bool measured = now >= load->measured_us && now < load->end_us;

    if (status == 201) {
        load->created++;
        load->created_measured += measured;
        add_latency(&load->accepted, measured, now - connection->due_us);
    } else if (status == 503) {
        load->refused++;
        load->refused_measured += measured;
        load->without_retry_after += strcasestr(connection->answer, "\r\nRetry-After:") == NULL;
        add_latency(&load->turned_away, measured, now - connection->due_us);
    } else if (status == 409) {
        load->conflicts++;
    } else if (status >= 500) {
        load->server_errors++;
    } else {
        load->others++;
    }
}

static void rest(struct connection *connection)
{
    connection->next_idle = connection->load->idle;
    connection->load->idle = connection;
}

/* Is the answer whole? Then it is counted, and the connection can be used again. */
static void look(struct connection *connection)
{
    char *end, *length;

    connection->answer[connection->answer_len] = '\0';
    end = strstr(connection->answer, "\r\n\r\n");
    if (!end)
        return;
    length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (length && length < end && connection->answer_len < (size_t)(end - connection->answer) + 4 + (size_t)atol(length + 17))
        return;
    count_answer(connection, atoi(connection->answer + 9));
    connection->answer_len = 0;
    connection->load->under_way--;
    rest(connection);
    dispatch(connection->load);
}

static void got_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    if (now_us() < connection->load->end_us)
        open_connection(connection);
}

/* A connection whose request has no answer. */
static void give_up(struct connection *connection)
{
    struct connection **link = &connection->load->idle;

    while (*link && *link != connection)
        link = &(*link)->next_idle;
    if (*link)
        *link = connection->next_idle;
    else if (connection->up) {
        connection->load->broken++;
        connection->load->under_way--;
    }
    connection->up = false;
    if (!uv_is_closing((uv_handle_t *)&connection->tcp))
        uv_close((uv_handle_t *)&connection->tcp, got_closed);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    *buffer = uv_buf_init(connection->answer + connection->answer_len, (unsigned)(sizeof(connection->answer) - 1 - connection->answer_len));
}

static void got_bytes(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;

    if (len < 0) {
        give_up(connection);
        return;
    }
    connection->answer_len += (size_t)len;
    look(connection);
}

/* ---- requests ---- */

static void send_one(struct load *load, struct connection *connection)
{
    const char *body = load->bodies[load->sent % BODIES];
    int len = snprintf(
        connection->request, sizeof(connection->request),
        "POST /orders HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nIdempotency-Key: open-%s-%llu\r\nContent-Length: %zu\r\n\r\n%s",
        load->run, (unsigned long long)load->sent, strlen(body), body);
    uv_buf_t buffer = uv_buf_init(connection->request, (unsigned)len);

    connection->due_us = load->waiting[load->first_waiting++ % WAITING_MAX];
    load->sent++;
    load->under_way++;
    if (uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1) != len) /* a socket that owes nothing has room for so little */
        give_up(connection);
}

static void dispatch(struct load *load)
{
    int64_t now = now_us();

    if (load->rate == 0 && now < load->end_us)
        for (const struct connection *idle = load->idle; idle; idle = idle->next_idle)
            load->waiting[load->due++ % WAITING_MAX] = now;
    while (load->idle && load->first_waiting < load->due) {
        struct connection *connection = load->idle;

        load->idle = connection->next_idle;
        send_one(load, connection);
    }
    if (load->due - load->first_waiting > load->most_waiting)
        load->most_waiting = load->due - load->first_waiting;
}

/* What falls due until ${until}. */
static void fall_due(struct load *load, int64_t until)
{
    uint64_t due = (uint64_t)((double)(until - load->began_us) * load->rate / 1e6);

    for (; load->due < due && load->due - load->first_waiting < WAITING_MAX; load->due++)
        load->waiting[load->due % WAITING_MAX] = load->began_us + (int64_t)((double)load->due * 1e6 / load->rate);
}

static void got_tick(uv_timer_t *timer)
{
    struct load *load = timer->data;
    int64_t now = now_us();

    if (load->rate > 0)
        fall_due(load, now < load->end_us ? now : load->end_us);
    dispatch(load);
    if (now >= load->end_us && (load->under_way == 0 || now >= load->end_us + GRACE_MS * 1000))
        uv_stop(&load->loop);
}

static void got_connected(uv_connect_t *connect, int status)
{
    struct connection *connection = connect->data;

    if (status != 0) {
        give_up(connection);
        return;
    }
    connection->up = true;
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, give_room, got_bytes);
    rest(connection);
}

static void open_connection(struct connection *connection)
{
    connection->answer_len = 0;
    uv_tcp_init(&connection->load->loop, &connection->tcp);
    connection->tcp.data = connection->connect.data = connection;
    if (uv_tcp_connect(&connection->connect, &connection->tcp, (const struct sockaddr *)&connection->load->address, got_connected) != 0)
        give_up(connection);
}

/* ---- beginning and end ---- */

static bool make_bodies(struct load *load, const char *path)
{
    FILE *pairs = fopen(path, "r");
    int count = 0;
    long left, right;

    while (pairs && count < BODIES) {
        if (fscanf(pairs, "%ld %ld", &left, &right) == 2) {
            snprintf(
                load->bodies[count], sizeof(load->bodies[count]),
                "{\"user\":\"User %d\",\"items\":[{\"product_id\":%ld,\"quantity\":1},{\"product_id\":%ld,\"quantity\":1}],\"hold_seconds\":3600}",
                count, left, right);
            count++;
        } else if (count == 0) {
            break;
        } else {
            rewind(pairs);
        }
    }
    if (pairs)
        fclose(pairs);
    return count == BODIES;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

static void print_latencies(const char *name, struct latencies *latencies)
{
    size_t n = latencies->count;

    qsort(latencies->us, n, sizeof(*latencies->us), compare);
    printf("%s_p50_us=%u\n%s_p99_us=%u\n", name, n ? latencies->us[n / 2] : 0, name, n ? latencies->us[n * 99 / 100] : 0);
}

/* What this generator took of the machine, which what is measured may share with it. */
static void print_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    printf("cpu_us=%lld\n", (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void print_result(struct load *load, double seconds)
{
    double measured = (double)(load->end_us - load->measured_us) / 1e6;

    print_cpu(); /* before the latencies are sorted */
    printf("offered=%.0f\ncreated=%.0f\nrefused=%.0f\n", (double)load->due / seconds, (double)load->created_measured / measured,
           (double)load->refused_measured / measured);
    printf("orders=%llu\nrefusals=%llu\n", (unsigned long long)load->created, (unsigned long long)load->refused);
    printf("without_retry_after=%llu\nconflicts=%llu\nserver_errors=%llu\nothers=%llu\n", (unsigned long long)load->without_retry_after,
           (unsigned long long)load->conflicts, (unsigned long long)load->server_errors, (unsigned long long)load->others);
    printf("broken=%llu\nunanswered=%llu\nunsent=%llu\nmost_waiting=%llu\n", (unsigned long long)load->broken, (unsigned long long)load->under_way,
           (unsigned long long)(load->due - load->first_waiting), (unsigned long long)load->most_waiting);
    print_latencies("accepted", &load->accepted);
    print_latencies("refused", &load->turned_away);
}

int main(int argc, char **argv)
{
    static struct load load;
    double seconds;

    if (argc != 6 || !make_bodies(&load, argv[2]) || atof(argv[4]) * 1000 <= WARM_UP_MS) {
        fprintf(stderr, "usage: souk-bench-open PORT PAIRS RATE SECONDS CONNECTIONS; PAIRS is a file with two product ids a line; SECONDS more than 1\n");
        return 2;
    }
    load.rate = atof(argv[3]);
    seconds = atof(argv[4]);
    load.connection_count = (unsigned)atoi(argv[5]);
    load.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    load.connections = calloc(load.connection_count, sizeof(struct connection));
    load.waiting = calloc(WAITING_MAX, sizeof(int64_t));
    load.accepted.us = calloc(LATENCIES_MAX, sizeof(uint32_t));
    load.turned_away.us = calloc(LATENCIES_MAX, sizeof(uint32_t));
    snprintf(load.run, sizeof(load.run), "%llx", (unsigned long long)uv_hrtime());
    uv_loop_init(&load.loop);
    load.began_us = now_us();
    load.measured_us = load.began_us + WARM_UP_MS * 1000;
    load.end_us = load.began_us + (int64_t)(seconds * 1e6);
    for (unsigned i = 0; i < load.connection_count; i++) {
        load.connections[i].load = &load;
        open_connection(&load.connections[i]);
    }
    uv_timer_init(&load.loop, &load.tick);
    load.tick.data = &load;
    uv_timer_start(&load.tick, got_tick, 1, 1);
    uv_run(&load.loop, UV_RUN_DEFAULT);
    print_result(&load, seconds);
    return 0;
}
