#ifndef ORACLE_H
#define ORACLE_H

#include "shoppers.h"
#include "subscriber.h"

/*
 * What must hold when everything has come to rest, read from the shards' keys and the gateway's book, not by the code under test. Complaints go to
 * the fleet.
 *
 *   units    on_hand is what it was at first, plus what adjustments were told to have changed, less what fulfilled orders took; held and committed
 *            are the sums of their holds; nothing is below 0
 *   orders   each line of a paid order is committed, of a fulfilled one consumed, of an ended one back; no unit is held for anybody else; one order
 *            for a key that was told 201, none for a key that was told no
 *   money    what the gateway took and did not give back is: the total less its refunds for an order that is paid or fulfilled, nothing for any
 *            other; what is authorized is captured or voided; the payment's record says the same
 *   states   what a client was told has happened: cancelled is cancelled, fulfilled is fulfilled, paid was paid
 *   imports  each line of an import that was told 200 is in the catalogue once, with its units; nothing is there that nobody imported
 *   events   each version of an order has one event, the steps are those that there are, and the subscriber was told of every one
 */
void oracle_check(const struct shop *shop, const struct subscriber *subscriber);

/* Is nothing left to do: no duty of an order or a payment, no hold that waits, no request under way? */
bool oracle_quiet(const struct shop *shop);

#endif
