#ifndef PROCESS_H
#define PROCESS_H

#include "metric.h"

/* The metrics of the process itself, under the names that Prometheus' own libraries give them. They need no figures. */
extern const struct metric_row PROCESS_METRICS[];

#endif
