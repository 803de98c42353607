#ifndef HECKLER_H
#define HECKLER_H

#include "shopper.h"

/*
 * Who sends what nobody should send, all the time, to any worker: the bad requests of tests/flow/bad_requests.flow, and orders that break off in the
 * middle. A thread of its own; what came is in the history.
 */
struct heckler;
struct heckler *heckler_start(struct market *market);
/* When market->closing: waits until the thread has ended, and frees it. */
void heckler_stop(struct heckler *heckler);

#endif
