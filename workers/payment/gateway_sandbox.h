#ifndef GATEWAY_SANDBOX_H
#define GATEWAY_SANDBOX_H

#include "gateway.h"

/* How the sandbox gateway (workers/sandbox) is spoken to: an errand as a request, a response as its result. A real gateway is another such file. */

/* The path below the gateway's address, NUL-terminated, and the JSON body of the POST. */
struct view gateway_sandbox_path(const struct gateway_errand *errand);
struct view gateway_sandbox_body(const struct gateway_errand *errand);

/* Fills the errand's result in. Whatever is not a decision, in form or in status, is UNKNOWN. */
void gateway_sandbox_read(struct gateway_errand *errand, long status, struct view body);

#endif
