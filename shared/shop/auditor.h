#ifndef AUDITOR_H
#define AUDITOR_H

#include "metric.h"

#include "service.h"

#include "audit.h"

/*
 * The audit by itself, every ${period_s}: whichever worker takes souk:lease:audit does it, the others pass. After a long audit the pause is longer,
 * so that auditing takes a tenth of the time at most. What is found is logged and counted.
 *
 *   timer ─▶ SET souk:lease:audit NX ─┬─ taken by another ─▶ end
 *                                     └─ ours: AUDIT ─▶ figures, log ─▶ SET souk:lease:audit, for the pause ─▶ end
 */
struct auditor;

/*
 * On this thread, until the service drains. ${period_s} 0: never, then this returns an auditor that does nothing. Returns NULL (logged) if memory is
 * short.
 */
struct auditor *auditor_start(struct service_thread *thread, int period_s);
void auditor_stop(struct auditor *auditor);

/* What it has found; nothing but uint64_t, see figures_publish. The rows of the metrics read it. */
struct audit_figures {
    uint64_t audits, failed, at_ms, took_ms; /* the last two of the last one that was completed, as all that follows */
    uint64_t checked[AUDIT_THINGS], holds[AUDIT_PHASES], violations[AUDIT_KINDS];
};
const struct audit_figures *auditor_figures(const struct auditor *auditor);
extern const struct metric_row AUDIT_METRICS[];

#endif
