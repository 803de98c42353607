#include "clock.h"
#include "notify.h"

#include "service_internal.h"

#include "supervisor.h"

/* What a drain takes beyond its time: closing connections, joining threads. */
#define STOP_EXTRA_MS 2000

static void tell_status(struct service *service)
{
    struct supervisor *supervisor = &service->supervisor;
    const char *missing = service_missing(service);
    if (supervisor->told && supervisor->missing == missing)
        return;
    supervisor->told = true;
    supervisor->missing = missing;
    if (missing)
        notify_send("STATUS=port %d, not ready: %s", atomic_load(&service->port), missing);
    else
        notify_send("STATUS=ready on port %d", atomic_load(&service->port));
}

void supervisor_started(struct service *service)
{
    struct supervisor *supervisor = &service->supervisor;
    supervisor->wanted = notify_wanted();
    supervisor->alive_every_us = notify_watchdog_us() / 3;
    notify_send("READY=1");
}

/* Has every loop turned since ${since_us}? */
static bool all_turn(struct service *service, int64_t since_us)
{
    for (int i = 0; i < service->settings.threads; i++)
        if (atomic_load_explicit(&service->threads[i].ticked_us, memory_order_relaxed) < since_us)
            return false;
    return true;
}

/* A thread that hangs keeps the others' signs of life back, until the service manager ends and restarts the process. */
static void tell_alive(struct service *service, int64_t now_us)
{
    struct supervisor *supervisor = &service->supervisor;
    if (supervisor->alive_every_us == 0 || now_us - supervisor->alive_us < supervisor->alive_every_us)
        return;
    if (!atomic_load(&service->draining) && !all_turn(service, now_us - supervisor->alive_every_us))
        return;
    supervisor->alive_us = now_us;
    notify_send("WATCHDOG=1");
}

void supervisor_tick(struct worker_thread *thread)
{
    struct service *service = thread->public.service;
    int64_t now_us = clock_us();
    atomic_store_explicit(&thread->ticked_us, now_us, memory_order_relaxed);
    if (thread->public.index != 0 || !service->supervisor.wanted)
        return;
    if (!atomic_load(&service->draining))
        tell_status(service);
    tell_alive(service, now_us);
}

void supervisor_stopping(struct service *service)
{
    notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=finishing what is under way",
                (service->settings.drain_delay_ms + service->settings.drain_ms + STOP_EXTRA_MS) * 1000LL);
}
