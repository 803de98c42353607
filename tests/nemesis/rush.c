#include <inttypes.h>
#include <stdio.h>

#include "clock.h"

#include "rush.h"

#define CLIENTS "400"

/* PORT, METHOD, PATH, BODY: the language of bench/load.c, in which %n is the number of the request. */
static void write_reads(FILE *plan, int port, const char *path)
{
    fprintf(plan, "%d\tGET\t%s\t\n", port, path);
}

static void write_plan(FILE *plan, int port, enum souk_role role, const struct market *market)
{
    char path[64];
    for (unsigned i = 0; i < market->product_count; i++) {
        snprintf(path, sizeof(path), "/products/%" PRId64, market->products[i]);
        if (role == SOUK_PRODUCT)
            write_reads(plan, port, path);
        else if (role == SOUK_ORDER)
            fprintf(plan, "%d\tPOST\t/orders\t{\"user\":\"nobody\",\"items\":[{\"product_id\":%" PRId64 ",\"quantity\":%d}]}\n", port,
                    market->products[i], TOO_MANY);
    }
    write_reads(plan, port, role == SOUK_PRODUCT ? "/products?limit=20" : role == SOUK_ORDER ? "/orders/1%n" : "/payments/1%n");
}

void rush_begin(struct rush *rush, struct souk *souk, const struct fleet_worker *worker, const struct market *market)
{
    char name[32], header[64];
    snprintf(name, sizeof(name), "rush-%u", rush->number++);
    snprintf(header, sizeof(header), "X-Request-Id: %u.0", NOBODYS_OPERATION);
    FILE *plan = generator_plan(&rush->generator, souk, name);
    write_plan(plan, souk_worker_port(souk, worker->number), worker->role, market);
    generator_start(&rush->generator, plan, "0", CLIENTS, header);
    rush->worker = worker->number;
    rush->began_us = clock_us();
    rush->under_way = true;
}

void rush_calm(struct rush *rush)
{
    generator_stop(&rush->generator);
}

bool rush_over(struct rush *rush, struct history *history)
{
    char worst[512];
    if (!rush->under_way || !generator_ended(&rush->generator))
        return !rush->under_way;
    rush->under_way = false;
    if (!generator_reported(&rush->generator)) /* it was told to end before it had begun */
        return true;
    generator_worst(&rush->generator, worst, sizeof(worst));
    history_rush(history, &(struct rush_counts){.worker = rush->worker,
                                                .from_us = rush->began_us,
                                                .until_us = clock_us(),
                                                .requests = (uint64_t)generator_count(&rush->generator, "requests"),
                                                .not_now = (uint64_t)generator_count(&rush->generator, "refused"),
                                                .without_retry_after = (uint64_t)generator_count(&rush->generator, "without_retry_after"),
                                                .server_errors = (uint64_t)generator_count(&rush->generator, "server_errors"),
                                                .cut = (uint64_t)generator_count(&rush->generator, "broken"),
                                                .silent = (uint64_t)generator_count(&rush->generator, "unanswered"),
                                                .worst = worst});
    return true;
}
