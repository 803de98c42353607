#ifndef SCOPE_H
#define SCOPE_H

#include <stdbool.h>

#include "view.h"

/*
 * What a caller may do, one row each; every route says which of these it needs. Who may hold one:
 *
 *   PUBLIC   whoever: there is nothing of a buyer in it. Only these can be given to callers without a token, and only their answers are kept near
 *   BUYER    whoever has a token, also one that acts for one buyer: each route then says how it knows whose a thing is (struct route, own)
 *   SHOP     a token that acts for all buyers: what it shows or does is the shop's
 */
enum reach { REACH_PUBLIC, REACH_BUYER, REACH_SHOP };

#define SCOPES(ROW) \
    ROW(CATALOGUE_READ, "catalogue:read", PUBLIC) \
    ROW(CATALOGUE_WRITE, "catalogue:write", SHOP) \
    ROW(STOCK_READ, "stock:read", SHOP) \
    ROW(STOCK_WRITE, "stock:write", SHOP) \
    ROW(ORDERS_READ, "orders:read", BUYER) \
    ROW(ORDERS_WRITE, "orders:write", BUYER) \
    ROW(ORDERS_FULFIL, "orders:fulfil", SHOP) \
    ROW(PAYMENTS_READ, "payments:read", BUYER) \
    ROW(PAYMENTS_WRITE, "payments:write", BUYER) \
    ROW(PAYMENTS_CAPTURE, "payments:capture", SHOP) \
    ROW(PAYMENTS_REFUND, "payments:refund", SHOP) \
    ROW(EVENTS_READ, "events:read", SHOP) \
    ROW(AUDIT_READ, "audit:read", SHOP)

/* None is nobody's: a route without a scope stops the start (router_init). */
#define SCOPE_ENUM(name, text, reach) SCOPE_##name,
enum scope { SCOPE_NONE, SCOPES(SCOPE_ENUM) SCOPE_COUNT };

/* "orders:read" */
const char *scope_name(enum scope scope);
enum reach scope_reach(enum scope scope);
/* SCOPE_NONE: there is none of that name. */
enum scope scope_of(struct view name);

#endif
