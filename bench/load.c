#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <uv.h>

/*
 * souk-bench-load: what wrk cannot do. Jobs of several requests to several ports, each with a number of its own; as many as are wanted, or as long;
 * in a closed loop, or in an open one: RATE jobs a second fall due whatever becomes of those before, each goes out by an idle client or waits for
 * one, and its latency counts from when it fell due. A slow server is not asked less.
 *
 *   every 100 µs: those that fell due ─▶ waiting ─▶ idle clients ─▶ send ··· answer ─▶ next step, or counted and the client is idle again
 *
 * PLAN has one step a line: port, method, path and body with tabs between them. A line that begins with + goes on with the job of the line before it,
 * as long as that was answered with 2xx. In path and body, %n is the job's number and %i the "id" in the answer before. Jobs are taken from the plan
 * in turns. Prints one fact a line. SIGTERM is the end of its time.
 */
#define STEPS_MAX 16384
#define PORTS_MAX 4
#define HEADERS_MAX 1024
#define REQUEST_MAX 4096
#define ANSWER_MAX 16384
#define WAITING_MAX (1 << 20)
#define LATENCIES_MAX (1 << 22)
#define TICK_NS 100000
#define GRACE_MS 6000 /* for the last answers */
#define FAILURE_MAX 1024

struct step {
    unsigned port; /* index of the load's ports */
    const char *method, *path, *body;
    bool last; /* of its job */
};

struct client;
struct connection {
    struct client *client;
    uv_tcp_t tcp;
    uv_connect_t connect;
    unsigned port;
    char answer[ANSWER_MAX];
    size_t answer_len, body_left; /* what is still missing of the body, once the head is there */
    int status;                   /* 0: the head is not there yet */
    bool up;
};

/* One who does one job at a time. It has a connection to each port. */
struct client {
    struct load *load;
    struct connection connections[PORTS_MAX];
    unsigned up_count;
    size_t step;
    uint64_t number;
    int64_t due_us;
    long long id; /* in the last answer */
    bool busy, idle;
    struct client *next_idle;
};

struct latencies {
    uint32_t *us;
    size_t count;
};

struct load {
    uv_loop_t loop;
    uv_poll_t tick;
    uv_signal_t stop;
    int timer;
    struct client *clients, *idle;
    unsigned client_count;
    /* The plan. */
    struct step steps[STEPS_MAX];
    size_t step_count, next_step;
    struct sockaddr_in ports[PORTS_MAX];
    unsigned port_count;
    char headers[HEADERS_MAX];
    char run[32];
    /* How much. */
    double rate, seconds; /* rate 0: a closed loop */
    uint64_t count;       /* 0: until the time is over */
    double warm_s;        /* what is answered before does not count in rates and latencies, and then nor does what is answered after the end */
    int64_t began_us, measured_us, end_us, last_us;
    /* Where it is. */
    int64_t *waiting; /* when each fell due; a ring */
    uint64_t first_waiting, due, most_waiting, under_way;
    /* What came of them. */
    uint64_t done, requests, refused, without_retry_after, conflicts, server_errors, others, broken;
    uint64_t done_measured, refused_measured;
    struct latencies accepted, turned_away, late;
    char worst_failure[FAILURE_MAX];
    int worst; /* how bad that is: of enum badness */
};

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

static void add_latency(struct latencies *latencies, int64_t us)
{
    if (latencies->count < LATENCIES_MAX)
        latencies->us[latencies->count++] = (uint32_t)us;
}

static void dispatch(struct load *load);
static void open_connection(struct connection *connection);
static void send_step(struct client *client);
static void give_up(struct connection *connection);

/* ---- answers ---- */

static bool is_measured(const struct load *load)
{
    return load->warm_s == 0 || (load->last_us >= load->measured_us && load->last_us < load->end_us);
}

/* "Not now" says when to come again: 503, or 504 when the time of the request was over. Nothing else of 5xx should be. */
enum badness { GOOD, REFUSED, NOT_NOW, WRONG };

static enum badness how_bad(const struct connection *connection)
{
    bool not_now = connection->status == 503 || connection->status == 504;

    if (connection->status / 100 == 2)
        return GOOD;
    if (connection->status < 500)
        return REFUSED;
    return not_now && strcasestr(connection->answer, "\r\nRetry-After:") ? NOT_NOW : WRONG;
}

/* The first of the worst answers, in one line: who reads the counts will want to know who refused what, and why. */
static void keep_failure(struct client *client, const struct connection *connection)
{
    const struct step *step = &client->load->steps[client->step];
    char *text = client->load->worst_failure;

    snprintf(text, FAILURE_MAX, "%s %s of job %llu after %lld us: %.*s", step->method, step->path, (unsigned long long)client->number,
             (long long)(client->load->last_us - client->due_us), FAILURE_MAX / 2, connection->answer);
    for (; *text; text++)
        if ((unsigned char)*text < ' ')
            *text = ' ';
}

static void count_answer(struct client *client, const struct connection *connection)
{
    struct load *load = client->load;
    int status = connection->status, bad = how_bad(connection);

    load->last_us = now_us();
    if (bad > load->worst) {
        load->worst = bad;
        keep_failure(client, connection);
    }
    if (is_measured(load) && (status / 100 == 2 || status == 503 || status == 409))
        add_latency(status / 100 == 2 ? &load->accepted : &load->turned_away, load->last_us - client->due_us);
    if (status / 100 == 2) {
        load->done++;
        load->done_measured += is_measured(load);
    } else if (status == 503 || status == 504) {
        load->refused++;
        load->refused_measured += is_measured(load);
        load->without_retry_after += bad == WRONG;
    } else if (status == 409) {
        load->conflicts++;
    } else if (status >= 500) {
        load->server_errors++;
    } else {
        load->others++;
    }
}

static void rest(struct client *client)
{
    client->idle = true;
    client->next_idle = client->load->idle;
    client->load->idle = client;
}

/* The connection's answer is whole: the next step of the job, or its end. */
static void got_whole(struct connection *connection)
{
    struct client *client = connection->client;
    struct load *load = client->load;
    const struct step *step = &load->steps[client->step];
    const char *id = strstr(connection->answer, "\"id\":");

    load->requests++;
    client->id = id ? atoll(id + 5) : 0;
    connection->answer_len = 0;
    if (!step->last && connection->status / 100 == 2) {
        connection->status = 0;
        client->step++;
        send_step(client);
        return;
    }
    count_answer(client, connection);
    connection->status = 0;
    client->busy = false;
    load->under_way--;
    rest(client);
    dispatch(load);
}

/* Looks for the end of the head. Returns false while it has not come. */
static bool read_head(struct connection *connection)
{
    char *end, *length;

    connection->answer[connection->answer_len] = '\0';
    end = strstr(connection->answer, "\r\n\r\n");
    if (!end)
        return false;
    length = strcasestr(connection->answer, "\r\nContent-Length:");
    connection->body_left = length && length < end ? (size_t)atol(length + 17) : 0;
    connection->status = atoi(connection->answer + 9);
    connection->body_left -= connection->answer_len - (size_t)(end + 4 - connection->answer);
    return true;
}

static void got_bytes(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;

    if (len < 0) {
        give_up(connection);
        return;
    }
    if (connection->status == 0) {
        connection->answer_len += (size_t)len;
        if (!read_head(connection))
            return;
    } else {
        connection->body_left -= (size_t)len;
    }
    if (connection->body_left == 0)
        got_whole(connection);
}

/* Of a long body, what comes behind the first bytes is counted and not kept. */
static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char scrap[65536];
    struct connection *connection = handle->data;

    if (connection->status == 0)
        *buffer = uv_buf_init(connection->answer + connection->answer_len, (unsigned)(ANSWER_MAX - 1 - connection->answer_len));
    else
        *buffer = uv_buf_init(scrap, sizeof(scrap));
}

/* ---- connections ---- */

static void got_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    if (now_us() < connection->client->load->end_us)
        open_connection(connection);
}

static void stop_resting(struct client *client)
{
    struct client **link = &client->load->idle;

    while (*link != client)
        link = &(*link)->next_idle;
    *link = client->next_idle;
    client->idle = false;
}

/* A connection that broke takes its client's job with it. */
static void give_up(struct connection *connection)
{
    struct client *client = connection->client;

    if (client->idle)
        stop_resting(client);
    if (client->busy) {
        client->load->broken++;
        client->load->under_way--;
        client->busy = false;
    }
    client->up_count -= connection->up;
    connection->up = false;
    connection->status = 0;
    connection->answer_len = 0;
    if (!uv_is_closing((uv_handle_t *)&connection->tcp))
        uv_close((uv_handle_t *)&connection->tcp, got_closed);
}

static void got_connected(uv_connect_t *connect, int status)
{
    struct connection *connection = connect->data;
    struct client *client = connection->client;

    if (status != 0) {
        give_up(connection);
        return;
    }
    connection->up = true;
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_read_start((uv_stream_t *)&connection->tcp, give_room, got_bytes);
    if (++client->up_count == client->load->port_count) {
        rest(client);
        dispatch(client->load);
    }
}

static void open_connection(struct connection *connection)
{
    struct load *load = connection->client->load;

    uv_tcp_init(&load->loop, &connection->tcp);
    connection->tcp.data = connection->connect.data = connection;
    if (uv_tcp_connect(&connection->connect, &connection->tcp, (const struct sockaddr *)&load->ports[connection->port], got_connected) != 0)
        give_up(connection);
}

/* ---- requests ---- */

/* Writes ${text} with the job's number and the last id in it. Returns its length; ${size} is enough for what a plan may have. */
static size_t fill_in(char *out, size_t size, const char *text, const struct client *client)
{
    size_t len = 0;

    for (; *text && len + 24 < size; text++) {
        if (text[0] == '%' && (text[1] == 'n' || text[1] == 'i')) {
            long long number = text[1] == 'n' ? (long long)client->number : client->id;

            len += (size_t)snprintf(out + len, size - len, "%lld", number);
            text++;
        } else {
            out[len++] = *text;
        }
    }
    out[len] = '\0';
    return len;
}

static int write_request(const struct client *client, char *out, size_t size)
{
    const struct load *load = client->load;
    const struct step *step = &load->steps[client->step];
    char path[512], body[2048], key[96] = "", content[96] = "";
    size_t body_len = fill_in(body, sizeof(body), step->body, client);

    fill_in(path, sizeof(path), step->path, client);
    if (strcmp(step->method, "POST") == 0)
        snprintf(key, sizeof(key), "Idempotency-Key: %s-%llu-%zu\r\n", load->run, (unsigned long long)client->number, client->step);
    if (body_len)
        snprintf(content, sizeof(content), "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_len);
    return snprintf(out, size, "%s %s HTTP/1.1\r\nHost: bench\r\n%s%s%s\r\n%s", step->method, path, load->headers, key, content, body);
}

static void send_step(struct client *client)
{
    struct connection *connection = &client->connections[client->load->steps[client->step].port];
    char request[REQUEST_MAX];
    int len = write_request(client, request, sizeof(request));
    uv_buf_t buffer = uv_buf_init(request, (unsigned)len);

    if (uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1) != len) /* a socket that owes nothing has room for so little */
        give_up(connection);
}

static void begin_job(struct client *client, int64_t due_us)
{
    struct load *load = client->load;

    client->busy = true;
    client->due_us = due_us;
    client->number = load->first_waiting++;
    client->step = load->next_step;
    do
        load->next_step = (load->next_step + 1) % load->step_count;
    while (!load->steps[(load->next_step + load->step_count - 1) % load->step_count].last);
    load->under_way++;
    add_latency(&load->late, now_us() - due_us);
    send_step(client);
}

static bool is_over(const struct load *load)
{
    return (load->count && load->first_waiting == load->count) || now_us() >= load->end_us;
}

/* Gives idle clients what waits. In a closed loop a job falls due when somebody is idle. */
static void dispatch(struct load *load)
{
    while (load->idle && (load->rate > 0 ? load->first_waiting < load->due : !is_over(load))) {
        struct client *client = load->idle;

        load->idle = client->next_idle;
        client->idle = false;
        begin_job(client, load->rate > 0 ? load->waiting[load->first_waiting % WAITING_MAX] : now_us());
    }
    if (load->rate > 0 && load->due - load->first_waiting > load->most_waiting)
        load->most_waiting = load->due - load->first_waiting;
}

static void fall_due(struct load *load, int64_t now)
{
    int64_t until = now < load->end_us ? now : load->end_us;
    uint64_t due = (uint64_t)((double)(until - load->began_us) * load->rate / 1e6);

    if (load->count && due > load->count)
        due = load->count;
    for (; load->due < due && load->due - load->first_waiting < WAITING_MAX; load->due++)
        load->waiting[load->due % WAITING_MAX] = load->began_us + (int64_t)((double)load->due * 1e6 / load->rate);
}

static void got_tick(uv_poll_t *tick, int status, int events)
{
    struct load *load = tick->data;
    int64_t now = now_us();
    uint64_t ticks;

    if (read(load->timer, &ticks, sizeof(ticks)) < 0)
        return;
    if (load->rate > 0)
        fall_due(load, now);
    dispatch(load);
    if (is_over(load) && (load->under_way == 0 || now >= load->end_us + GRACE_MS * 1000))
        uv_stop(&load->loop);
}

static void got_stop(uv_signal_t *stop, int signum)
{
    struct load *load = stop->data;

    load->end_us = now_us();
}

/* ---- the plan ---- */

static bool find_port(struct load *load, int number, unsigned *port)
{
    for (*port = 0; *port < load->port_count; ++*port)
        if (load->ports[*port].sin_port == htons((uint16_t)number))
            return true;
    if (*port == PORTS_MAX || number < 1 || number > 65535)
        return false;
    load->ports[load->port_count++] =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return true;
}

static bool read_step(struct load *load, char *line)
{
    struct step *step = &load->steps[load->step_count];
    bool goes_on = line[0] == '+';
    char *rest = line + goes_on, *port;

    if (load->step_count == STEPS_MAX || (goes_on && load->step_count == 0))
        return false;
    rest[strcspn(rest, "\n")] = '\0';
    port = strsep(&rest, "\t");
    step->method = strsep(&rest, "\t");
    step->path = strsep(&rest, "\t");
    step->body = rest ? rest : "";
    step->last = true;
    if (!step->method || !step->path || !find_port(load, atoi(port), &step->port))
        return false;
    if (goes_on)
        step[-1].last = false;
    load->step_count++;
    return true;
}

/* The lines stay: steps point into them. */
static bool read_plan(struct load *load, const char *path)
{
    FILE *plan = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    bool good = plan != NULL;

    while (good && getline(&line, &size, plan) > 0) {
        good = read_step(load, line);
        line = NULL;
        size = 0;
    }
    free(line);
    if (plan)
        fclose(plan);
    return good && load->step_count > 0;
}

/* ---- beginning and end ---- */

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

static void print_latencies(const char *name, struct latencies *latencies)
{
    static const struct {
        const char *name;
        double share;
    } ranks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    size_t n = latencies->count;

    qsort(latencies->us, n, sizeof(*latencies->us), compare);
    for (size_t i = 0; i < sizeof(ranks) / sizeof(*ranks); i++) {
        size_t at = (size_t)((double)n * ranks[i].share);

        printf("%s_%s_us=%u\n", name, ranks[i].name, n ? latencies->us[at < n ? at : n - 1] : 0);
    }
}

/* What this generator took of the machine, which what is measured may share with it. */
static void print_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    printf("cpu_us=%lld\n", (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void print_result(struct load *load)
{
    double measured_s = (double)((load->warm_s > 0 ? load->end_us : load->last_us) - load->measured_us) / 1e6;

    print_cpu(); /* before the latencies are sorted */
    printf("us=%lld\njobs=%llu\ndone=%llu\nrequests=%llu\n", (long long)(load->last_us - load->began_us), (unsigned long long)load->first_waiting,
           (unsigned long long)load->done, (unsigned long long)load->requests);
    printf("done_rate=%.0f\nrefused_rate=%.0f\n", (double)load->done_measured / measured_s, (double)load->refused_measured / measured_s);
    printf("refused=%llu\nwithout_retry_after=%llu\nconflicts=%llu\nserver_errors=%llu\nothers=%llu\n", (unsigned long long)load->refused,
           (unsigned long long)load->without_retry_after, (unsigned long long)load->conflicts, (unsigned long long)load->server_errors,
           (unsigned long long)load->others);
    printf("broken=%llu\nunanswered=%llu\nunsent=%llu\nmost_waiting=%llu\n", (unsigned long long)load->broken, (unsigned long long)load->under_way,
           (unsigned long long)(load->rate > 0 ? load->due - load->first_waiting : 0), (unsigned long long)load->most_waiting);
    print_latencies("accepted", &load->accepted);
    print_latencies("refused", &load->turned_away);
    print_latencies("sent_late", &load->late);
    if (load->worst_failure[0])
        printf("worst_failure=%s\n", load->worst_failure);
}

static bool read_options(struct load *load, int argc, char **argv)
{
    size_t headers = 0;
    int option;

    load->seconds = 600;
    load->client_count = 64;
    while ((option = getopt(argc, argv, "r:s:n:c:w:H:")) != -1) {
        if (option == 'r')
            load->rate = atof(optarg);
        else if (option == 's')
            load->seconds = atof(optarg);
        else if (option == 'n')
            load->count = (uint64_t)atoll(optarg);
        else if (option == 'w')
            load->warm_s = atof(optarg);
        else if (option == 'c')
            load->client_count = (unsigned)atoi(optarg);
        else if (option == 'H' && headers + strlen(optarg) + 3 < sizeof(load->headers))
            headers += (size_t)sprintf(load->headers + headers, "%s\r\n", optarg);
        else
            return false;
    }
    return optind == argc - 1 && load->client_count > 0 && load->warm_s < load->seconds && read_plan(load, argv[optind]);
}

static void open_clients(struct load *load)
{
    for (unsigned i = 0; i < load->client_count; i++) {
        struct client *client = &load->clients[i];

        client->load = load;
        for (unsigned port = 0; port < load->port_count; port++) {
            client->connections[port].client = client;
            client->connections[port].port = port;
            open_connection(&client->connections[port]);
        }
    }
}

static void start_ticking(struct load *load)
{
    struct itimerspec every = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};

    load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    timerfd_settime(load->timer, 0, &every, NULL);
    uv_poll_init(&load->loop, &load->tick, load->timer);
    load->tick.data = load;
    uv_poll_start(&load->tick, UV_READABLE, got_tick);
    uv_signal_init(&load->loop, &load->stop);
    load->stop.data = load;
    uv_signal_start(&load->stop, got_stop, SIGTERM);
}

int main(int argc, char **argv)
{
    static struct load load;

    if (!read_options(&load, argc, argv)) {
        fprintf(stderr,
                "usage: souk-bench-load [-r RATE] [-s SECONDS] [-n JOBS] [-c CLIENTS] [-w WARM-UP SECONDS] [-H HEADER]… PLAN\n"
                "PLAN: PORT, METHOD, PATH, BODY with tabs between them; + before a line that goes on with the job before it\n");
        return 2;
    }
    load.clients = calloc(load.client_count, sizeof(struct client));
    load.waiting = calloc(WAITING_MAX, sizeof(int64_t));
    load.accepted.us = calloc(LATENCIES_MAX, sizeof(uint32_t));
    load.turned_away.us = calloc(LATENCIES_MAX, sizeof(uint32_t));
    load.late.us = calloc(LATENCIES_MAX, sizeof(uint32_t));
    snprintf(load.run, sizeof(load.run), "%llx", (unsigned long long)uv_hrtime());
    uv_loop_init(&load.loop);
    load.began_us = now_us();
    load.measured_us = load.began_us + (int64_t)(load.warm_s * 1e6);
    load.end_us = load.began_us + (int64_t)(load.seconds * 1e6);
    open_clients(&load);
    start_ticking(&load);
    uv_run(&load.loop, UV_RUN_DEFAULT);
    print_result(&load);
    return 0;
}
