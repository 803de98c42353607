#ifndef AUDITOR_H
#define AUDITOR_H

#include "arena.h"
#include "service.h"

/*
 * The audit by itself, every ${period_s}: whichever worker takes souk:lease:audit does it, the others pass. After a long audit the pause is longer, so
 * that auditing takes a tenth of the time at most. What is found is logged and counted.
 *
 *   timer ─▶ SET souk:lease:audit NX ─┬─ taken by another ─▶ end
 *                                     └─ ours: AUDIT ─▶ figures, log ─▶ SET souk:lease:audit, for the pause ─▶ end
 */
struct auditor;

/* On this thread, until the service drains. ${period_s} 0: never, then this returns an auditor that does nothing. Returns NULL (logged) if memory is short. */
struct auditor *auditor_start(struct service_thread *thread, int period_s);
void auditor_stop(struct auditor *auditor);

/* The lines of /metrics about this worker's last audit; none before the first. From any thread. */
void auditor_metrics(struct auditor *auditor, struct buffer *out);

#endif
