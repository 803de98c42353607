#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "log.h"
#include "loop.h"
#include "notify.h"
#include "options.h"

#include "desk.h"

/* souk-sandbox: a payment gateway for tests and demonstrations, as stubborn as a real one. */

struct settings {
    const char *address, *journal, *log_level, *log_format, *open;
    int port;
};
#define AT(field) offsetof(struct settings, field)
static const struct option_row OPTIONS[] = {
    {"http-address", OPTION_ADDRESS, AT(address), "127.0.0.1", 0, 0, NULL,
     "address to listen on; only a loopback address, unless the sandbox is open"},
    {"http-port", OPTION_INT, AT(port), "8083", 0, 65535, NULL, "port to listen on; 0 takes any free one"},
    {"sandbox-open", OPTION_CHOICE, AT(open), "no", 0, 0, "no|yes",
     "yes: listen on any address, for whoever reaches it; it takes no money and asks nobody who he is, so only in a cluster for tests"},
    {"journal", OPTION_TEXT, AT(journal), "souk-sandbox.journal", 0, 0, NULL,
     "file of what was charged, one JSON line each; read again at the start"},
    {"log-level", OPTION_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug",
     "least urgent level that is logged; SIGUSR1 shows more, SIGUSR2 less"},
    {"log-format", OPTION_CHOICE, AT(log_format), "text", 0, 0, "text|json", "how a line is written: for people, or as a JSON object"},
};

/* Everything the program owns, in the order in which it is made. */
struct sandbox {
    struct settings settings;
    struct loop *loop;
    struct book *book;
    struct journal *journal;
    struct desk *desk;
    struct http *http;
};

static bool check(void *cookie, void *read)
{
    const struct settings *settings = read;
    const char *error = journal_check(settings->journal);
    bool may_listen = http_is_loopback(settings->address) || strcmp(settings->open, "yes") == 0;
    if (error)
        options_say(cookie, "SOUK_JOURNAL is %s, which cannot be written: %s; set it to a file of this program's own", settings->journal, error);
    if (!may_listen)
        options_say(cookie,
                    "SOUK_HTTP_ADDRESS is %s, and the sandbox is for tests: whoever reaches it could make up payments; listen on 127.0.0.1, or set "
                    "SOUK_SANDBOX_OPEN=yes where nothing else can reach it",
                    settings->address);
    return error == NULL && may_listen;
}

static void got_stop_signal(void *cookie, int signum)
{
    struct sandbox *sandbox = cookie;
    notify_send("STOPPING=1");
    http_quiesce(sandbox->http);
    desk_stop(sandbox->desk);
    loop_stop(sandbox->loop);
}

static bool start(struct sandbox *sandbox)
{
    const struct http_settings http = {
        .address = sandbox->settings.address,
        .port = sandbox->settings.port,
        .first = true,
        .headers_max = 8192,
        .body_max = 16384,
        .connections_max = 4096,
        .request_timeout_ms = 10000,
    };
    if ((sandbox->loop = loop_new()) == NULL)
        return false;
    /* Before it listens: whoever can connect can also end it in order. The handler runs in the loop, when all is made. */
    loop_on_signal(sandbox->loop, SIGTERM, got_stop_signal, sandbox);
    loop_on_signal(sandbox->loop, SIGINT, got_stop_signal, sandbox);
    loop_on_signal(sandbox->loop, SIGUSR1, log_got_signal, NULL);
    loop_on_signal(sandbox->loop, SIGUSR2, log_got_signal, NULL);
    sandbox->book = book_new();
    if ((sandbox->journal = journal_open(sandbox->settings.journal, sandbox->book)) == NULL)
        return false;
    sandbox->desk = desk_new(sandbox->loop, sandbox->book, sandbox->journal);
    sandbox->http = http_start(sandbox->loop, &http, desk_on_request, desk_on_refusal, sandbox->desk);
    if (sandbox->http == NULL)
        return false;
    notify_send("READY=1\nSTATUS=listening on port %d", http_port(sandbox->http));
    log_info("listening on %s:%d, journal %s", sandbox->settings.address, http_port(sandbox->http), sandbox->settings.journal);
    return true;
}

static void stop(struct sandbox *sandbox)
{
    http_stop(sandbox->http);
    journal_close(sandbox->journal);
    loop_free(sandbox->loop);
    desk_free(sandbox->desk);
    book_free(sandbox->book);
    arena_thread_end();
}

int main(int argc, char **argv)
{
    struct sandbox sandbox = {.loop = NULL};
    log_start("souk-sandbox", LOG_INFO);
    struct options options = {
        .program = "souk-sandbox",
        .about = "a payment gateway for tests and demonstrations, as stubborn as a real one",
        .rows = OPTIONS,
        .count = sizeof(OPTIONS) / sizeof(*OPTIONS),
        .check = check,
        .cookie = &options,
    };
    enum options_result result = options_read(&options, &sandbox.settings, argc, argv);
    if (result != OPTIONS_RUN)
        return result == OPTIONS_EXIT_OK ? 0 : 2;
    log_start("souk-sandbox", (enum log_level)log_level_of(sandbox.settings.log_level));
    log_set_format((enum log_format)log_format_of(sandbox.settings.log_format));
    signal(SIGPIPE, SIG_IGN);
    bool started = start(&sandbox);
    if (started)
        loop_run(sandbox.loop);
    stop(&sandbox);
    return started ? 0 : 1;
}
