#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Bad networks between real processes: each line is a port of 127.0.0.1 that hands what it gets on to another, and can be made bad while it is in
 * use. One thread serves all lines.
 *
 *   worker ── connect ──▶ line's port ══ delay, slow, swallow, cut ══▶ target ── shard or gateway
 *
 * A line's faults hold for the connections that there are and for later ones, until it is set again.
 */
struct proxy;

struct line_faults {
    int delay_ms;                   /* each piece arrives this much later */
    int bytes_per_s;                /* 0: as fast as it goes; each direction of each connection */
    size_t cut_after;               /* 0: never; after so many bytes towards the target, in the middle of whatever it is, the connections are cut */
    bool swallow_out, swallow_back; /* half-open: what goes to the target, or comes back, is lost */
    bool refuse;                    /* new connections are refused */
    bool only_subscribers;          /* of these, delay, rate and swallowing are for connections alone on which SUBSCRIBE was sent */
};

struct proxy *proxy_start(void);
void proxy_stop(struct proxy *proxy);

#define PROXY_LINES_MAX 32
/* A new line to ${target}. Returns its number. */
int proxy_add(struct proxy *proxy, int target);
int proxy_port(const struct proxy *proxy, int line);
/* NULL: the line is good. */
void proxy_set(struct proxy *proxy, int line, const struct line_faults *faults);
/* Cuts every connection of the line, whatever is on its way. */
void proxy_cut(struct proxy *proxy, int line);
/* How many connections there have been. */
unsigned proxy_accepted(struct proxy *proxy);

#endif
