#include "lua_test_lib.h"

/* Order 263 of partition 7, placed by T a second ago, version 3, in any pair of states; its index entries and duty as the functions leave them. */
#define ORDER_UNTIL(expires, state, payment_status, payments) \
    "HSET order:{7}:263 state " state " payment_status " payment_status " v 3 user bob total 1999 currency USD created @-1000 expires " expires \
    " t $T payments " payments " updated @-1000 doc D1 ; ZADD orders:{7} 555 263 ; ZADD orders:{7}:in:" state ":" payment_status \
    " 555 263 ; " \
    "ZADD txn:{7} 99 263 ; HSET idem:{7}:$H fp $F s placed id 263 n 1"
#define ORDER(state, payment_status, payments) ORDER_UNTIL("@+60000", state, payment_status, payments)
#define DUE(state, payment_status, payments) ORDER_UNTIL("@-1", state, payment_status, payments)
/* Its payment 519, in any status. */
#define PAYMENT(status) " ; HSET payment:{7}:519 status " status " ; ZADD payments:{7} 777 519"

#define RESERVED ORDER("reserved", "none", "''")
#define PAID ORDER("paid", "paid", "519") PAYMENT("succeeded")
#define FULFILLED ORDER("fulfilled", "paid", "519") PAYMENT("succeeded")
#define CANCELLED ORDER("cancelled", "none", "''")
#define EXPIRED ORDER("expired", "none", "''")

#define PLACE "place idem:{7}:$H 7 $F 1 $T bob 1999 USD 61000 D1 r-1"
#define REFUSE "refuse idem:{7}:$H 7 $F 1 409 B1"
#define SETTLE "settle idem:{7}:$H 7 "
#define SETTLE_BOTH "settle keys=2 idem:{7}:$H "
#define CANCEL "cancel order:{7}:263 7 263 $I $F 'changed my mind' r-2"
#define FULFIL "fulfil order:{7}:263 7 263 $I $F r-2 D2"
#define EXPIRE "expire order:{7}:263 7 263"
#define DUTY_DONE "duty_done order:{7}:263 7 263 "

#define RECORD(text) " ; HMGET order:{7}:263 state payment_status v updated => " text
#define EVENT(text) " ; XREVRANGE events:{7} + - COUNT 1 => * " text
#define DUTY(at) " ; ZSCORE txn:{7} 263 => " at
#define INDEXED(state, payment_status) " ; ZSCORE orders:{7}:in:" state ":" payment_status " 263 => 555"
#define NOT_INDEXED(state, payment_status) " ; EXISTS orders:{7}:in:" state ":" payment_status " => 0"
#define PAYMENT_DUTY(at) " ; ZSCORE txn:{7}:pay 519 => " at
#define NO_PAYMENT_DUTY " ; EXISTS txn:{7}:pay payments:{7}:refund_due => 0"

static const struct lua_case cases[] = {
    /* place */
    {"place: new", NULL, PLACE, "0 263 @+0 @+61000",
     "HGETALL order:{7}:263 => state reserved payment_status none v 1 user bob total 1999 currency USD created @+0 expires @+61000 "
     "t $T doc D1 e1 reserved|none|@+61000|@+0|place|r-1 ; HGETALL idem:{7}:$H => fp $F s placed id 263 n 1 ; PTTL idem:{7}:$H => -1 ; "
     "HGETALL seq:{7} => order 1 ; ZCARD orders:{7} => 1 ; ZCARD orders:{7}:user:bob => 1 ; ZCARD orders:{7}:in:reserved:none => 1" EVENT(
         "e 263||1||reserved|none|place|r-1") DUTY("@+61000")},
    {"place: again", PLACE, PLACE, "14 263 1 reserved ~0", NULL},
    {"place: again as another attempt", PLACE, "place idem:{7}:$H 7 $F 2 $U bob 1999 USD 61000 D1 r-1", "14 263 1 reserved ~0", NULL},
    {"place: again, reserved", RESERVED, PLACE, "14 263 1 reserved ~1000", NULL},
    {"place: again, paid", PAID, PLACE, "14 263 1 paid ~1000", NULL},
    {"place: again, fulfilled", FULFILLED, PLACE, "14 263 1 fulfilled ~1000", NULL},
    {"place: again, cancelled", CANCELLED, PLACE, "14 263 1 cancelled ~1000", NULL},
    {"place: again, expired", EXPIRED, PLACE, "14 263 1 expired ~1000", "PTTL idem:{7}:$H => -1"},
    {"place: again, and pruned, which is kept from then on", EXPIRED " ; PEXPIRE idem:{7}:$H 5000", PLACE, "14 263 1 expired ~1000",
     "PTTL idem:{7}:$H => ~600000"},
    {"place: with the key of another order", PLACE, "place idem:{7}:$H 7 $G 1 $H.$G.1 bob 1 USD 61000 D1 r-1", "12", NULL},
    {"place: refused before", REFUSE, PLACE, "15 409 B1", NULL},
    {"place: refused before, which is kept from then on", REFUSE " ; PEXPIRE idem:{7}:$H 5000", PLACE, "15 409 B1", "PTTL idem:{7}:$H => ~86400000"},
    {"place: another was refused before", REFUSE, "place idem:{7}:$H 7 $G 1 $H.$G.1 bob 1 USD 61000 D1 r-1", "12", NULL},
    {"place: this attempt was aborted", SETTLE "$F 1", PLACE, "30 1", NULL},
    {"place: this attempt was aborted, which is kept from then on", SETTLE "$F 1 ; PEXPIRE idem:{7}:$H 5000", PLACE, "30 1",
     "PTTL idem:{7}:$H => ~86400000"},
    {"place: a later attempt was aborted", SETTLE "$F 4", PLACE, "30 4", NULL},
    {"place: an earlier attempt was aborted", SETTLE "$F 1", "place idem:{7}:$H 7 $F 2 $U bob 1999 USD 61000 D1 r-1", "0 263 @+0 @+61000",
     "PTTL idem:{7}:$H => -1 ; HMGET idem:{7}:$H fp s id n => $F placed 263 2"},
    {"place: aborted tenth, then eleventh", SETTLE "$F 10", "place idem:{7}:$H 7 $F 11 $H.$F.11 bob 1999 USD 61000 D1 r-1", "0 263 @+0 @+61000",
     NULL},
    {"place: aborted tenth, then ninth", SETTLE "$F 10", "place idem:{7}:$H 7 $F 9 $H.$F.9 bob 1999 USD 61000 D1 r-1", "30 10", NULL},
    {"place: an attempt of another request was aborted", SETTLE "$G 5", PLACE, "0 263 @+0 @+61000", "PTTL idem:{7}:$H => -1"},
    {"place: counts on", "place idem:{7}:$I 7 $F 1 $I.$F.1 bob 1 USD 61000 D1 r-1", PLACE, "0 519 @+0 @+61000", "ZCARD orders:{7}:user:bob => 2"},
    {"place: in the last partition", NULL, "place idem:{255}:$H 255 $F 1 $T bob 1999 USD 61000 D1 r-1", "0 511 @+0 @+61000", NULL},
    {"place: free, with no hold time", NULL, "place idem:{7}:$H 7 $F 1 $T bob 0 USD 0 '' ''", "0 263 @+0 @+0",
     "HGET order:{7}:263 e1 => reserved|none|@+0|@+0|place|"},
    {"place: a user with odd characters", NULL, "place idem:{7}:$H 7 $F 1 $T 'a {b}:c|d' 1 USD 9 D r", "0 263 @+0 @+0",
     "ZCARD 'orders:{7}:user:a {b}:c|d' => 1"},
    {"place: the largest total", NULL, "place idem:{7}:$H 7 $F 1 $T bob 9007199254740991 USD 9 D r", "0 263 @+0 @+0",
     "HGET order:{7}:263 total => 9007199254740991"},
    {"place: total of 2^53", NULL, "place idem:{7}:$H 7 $F 1 $T bob 9007199254740992 USD 9 D r", "'-ERR souk: bad argument 6 of place'", NULL},
    {"place: total negative", NULL, "place idem:{7}:$H 7 $F 1 $T bob -1 USD 9 D r", "'-ERR souk: bad argument 6 of place'", NULL},
    {"place: total garbage", NULL, "place idem:{7}:$H 7 $F 1 $T bob 1.5 USD 9 D r", "'-ERR souk: bad argument 6 of place'", NULL},
    {"place: attempt 0", NULL, "place idem:{7}:$H 7 $F 0 $H.$F.0 bob 1 USD 9 D r", "'-ERR souk: bad argument 3 of place'", NULL},
    {"place: name of another attempt", NULL, "place idem:{7}:$H 7 $F 1 $U bob 1 USD 9 D r", "'-ERR souk: bad argument 4 of place'", NULL},
    {"place: name of another key", NULL, "place idem:{7}:$I 7 $F 1 $T bob 1 USD 9 D r", "'-ERR souk: bad argument 4 of place'", NULL},
    {"place: name of another request", NULL, "place idem:{7}:$H 7 $G 1 $T bob 1 USD 9 D r", "'-ERR souk: bad argument 4 of place'", NULL},
    {"place: user empty", NULL, "place idem:{7}:$H 7 $F 1 $T '' 1 USD 9 D r", "'-ERR souk: bad argument 5 of place'", NULL},
    {"place: currency in small letters", NULL, "place idem:{7}:$H 7 $F 1 $T bob 1 usd 9 D r", "'-ERR souk: bad argument 7 of place'", NULL},
    {"place: currency too long", NULL, "place idem:{7}:$H 7 $F 1 $T bob 1 USDT 9 D r", "'-ERR souk: bad argument 7 of place'", NULL},
    {"place: hold time negative", NULL, "place idem:{7}:$H 7 $F 1 $T bob 1 USD -9 D r", "'-ERR souk: bad argument 8 of place'", NULL},
    {"place: hold time of a century", NULL, "place idem:{7}:$H 7 $F 1 $T bob 1 USD 3155760000000 D r", "'-ERR souk: bad argument 8 of place'", NULL},
    {"place: key of another partition", NULL, "place idem:{8}:$H 7 $F 1 $T bob 1 USD 9 D r", "'-ERR souk: bad key of place'", NULL},
    {"place: an argument missing", NULL, "place idem:{7}:$H 7 $F 1 $T bob 1 USD 9 D", "'-ERR souk: wrong number of arguments of place'", NULL},

    /* refuse */
    {"refuse: new", NULL, REFUSE, "0", "HGETALL idem:{7}:$H => fp $F s refused status 409 body B1 ; PTTL idem:{7}:$H => ~86400000"},
    {"refuse: again", REFUSE, "refuse idem:{7}:$H 7 $F 1 422 B2", "15 409 B1", NULL},
    {"refuse: again as another attempt", REFUSE, "refuse idem:{7}:$H 7 $F 2 422 B2", "15 409 B1", NULL},
    {"refuse: placed before", RESERVED, REFUSE, "14 263 1 reserved ~1000", NULL},
    {"refuse: placed before and ended", CANCELLED, REFUSE, "14 263 1 cancelled ~1000", NULL},
    {"refuse: with the key of another order", RESERVED, "refuse idem:{7}:$H 7 $G 1 409 B1", "12", NULL},
    {"refuse: another was refused before", REFUSE, "refuse idem:{7}:$H 7 $G 1 409 B1", "12", NULL},
    {"refuse: aborted before", SETTLE "$F 2", REFUSE, "30 2", NULL},
    {"refuse: an earlier attempt was aborted", SETTLE "$F 1", "refuse idem:{7}:$H 7 $F 2 409 B1", "0", "HMGET idem:{7}:$H fp s => $F refused"},
    {"refuse: with an empty body", NULL, "refuse idem:{7}:$H 7 $F 1 409 ''", "0", NULL},
    {"refuse: status garbage", NULL, "refuse idem:{7}:$H 7 $F 1 no B", "'-ERR souk: bad argument 4 of refuse'", NULL},

    /* settle */
    {"settle: nothing known", NULL, SETTLE "$F 1", "0 aborted 1 '' '' ''", "HGETALL idem:{7}:$H => s aborted a:$F 1 ; PTTL idem:{7}:$H => ~86400000"},
    {"settle: nothing known, attempt 3", NULL, SETTLE "$F 3", "0 aborted 3 '' '' ''", "HGET idem:{7}:$H a:$F => 3"},
    {"settle: again", SETTLE "$F 3", SETTLE "$F 3", "0 aborted 3 '' '' ''", "HGET idem:{7}:$H a:$F => 3"},
    {"settle: an earlier attempt", SETTLE "$F 3", SETTLE "$F 1", "0 aborted 3 '' '' ''", "HGET idem:{7}:$H a:$F => 3"},
    {"settle: a later attempt", SETTLE "$F 9", SETTLE "$F 10", "0 aborted 10 '' '' ''", "HGET idem:{7}:$H a:$F => 10"},
    {"settle: an attempt of another request", SETTLE "$F 3", SETTLE "$G 1", "0 aborted 1 '' '' ''", "HMGET idem:{7}:$H a:$F a:$G => 3 1"},
    {"settle: reserved", RESERVED, SETTLE "$F 1", "0 reserved ~60000 placed 263 1", NULL},
    {"settle: reserved, its time is over", DUE("reserved", "none", "''"), SETTLE "$F 1", "0 reserved 0 placed 263 1", NULL},
    {"settle: paid", PAID, SETTLE "$F 1", "0 paid ~1000 placed 263 1", NULL},
    {"settle: fulfilled", FULFILLED, SETTLE "$F 1", "0 fulfilled ~1000 placed 263 1", NULL},
    {"settle: cancelled", CANCELLED, SETTLE "$F 1", "0 cancelled ~1000 placed 263 1", NULL},
    {"settle: expired", EXPIRED, SETTLE "$F 1", "0 expired ~1000 placed 263 1", "PTTL idem:{7}:$H => -1"},
    {"settle: expired, and pruned, which is kept from then on", EXPIRED " ; PEXPIRE idem:{7}:$H 5000", SETTLE "$F 1",
     "0 expired ~1000 placed 263 1", "PTTL idem:{7}:$H => ~600000"},
    {"settle: placed by another attempt", RESERVED, SETTLE "$F 2", "0 aborted 2 placed 263 1",
     "HEXISTS idem:{7}:$H a:$F => 0 ; PTTL idem:{7}:$H => -1"},
    {"settle: placed by another request", RESERVED, SETTLE "$G 1", "0 aborted 1 placed 263 1",
     "HEXISTS idem:{7}:$H a:$G => 0 ; PTTL idem:{7}:$H => -1"},
    {"settle: refused", REFUSE " ; PEXPIRE idem:{7}:$H 5000", SETTLE "$F 1", "0 aborted 1 refused '' ''",
     "HGET idem:{7}:$H s => refused ; PTTL idem:{7}:$H => ~86400000"},
    {"settle: its order is lost, among others", RESERVED " ; DEL order:{7}:263", SETTLE_BOTH "idem:{7}:$I 7 $F 1 7 $F 1",
     "0 lost 0 placed 263 1 aborted 1 '' '' ''", NULL},
    {"settle: several, in their order", RESERVED, SETTLE_BOTH "idem:{9}:$I 7 $F 1 9 $G 4", "0 reserved ~60000 placed 263 1 aborted 4 '' '' ''",
     "HGETALL idem:{9}:$I => s aborted a:$G 4 ; PTTL idem:{9}:$I => ~86400000 ; HEXISTS idem:{7}:$H a:$F => 0"},
    {"settle: two attempts of one request", NULL, SETTLE_BOTH "idem:{7}:$H 7 $F 1 7 $F 3", "0 aborted 1 '' '' '' aborted 3 '' '' ''",
     "HGETALL idem:{7}:$H => s aborted a:$F 3"},
    {"settle: two attempts of one request, the later first", NULL, SETTLE_BOTH "idem:{7}:$H 7 $F 3 7 $F 1",
     "0 aborted 3 '' '' '' aborted 1 '' '' ''", "HGETALL idem:{7}:$H => s aborted a:$F 3"},
    {"settle: two requests with one key", NULL, SETTLE_BOTH "idem:{7}:$H 7 $F 1 7 $G 2", "0 aborted 1 '' '' '' aborted 2 '' '' ''",
     "HMGET idem:{7}:$H s a:$F a:$G => aborted 1 2"},
    {"settle: attempt 0", NULL, SETTLE "$F 0", "'-ERR souk: bad argument 3 of settle'", NULL},
    {"settle: attempt 0 of the second", NULL, SETTLE_BOTH "idem:{7}:$I 7 $F 1 7 $F 0", "'-ERR souk: bad argument 6 of settle'",
     "EXISTS idem:{7}:$H => 0"},
    {"settle: a key for each, and one more", NULL, SETTLE_BOTH "idem:{7}:$I 7 $F 1", "'-ERR souk: bad key of settle'", "EXISTS idem:{7}:$H => 0"},
    {"settle: a key too few", NULL, SETTLE "$F 1 7 $F 2", "'-ERR souk: bad key of settle'", "EXISTS idem:{7}:$H => 0"},
    {"settle: the second key is of another partition", NULL, SETTLE_BOTH "idem:{7}:$I 7 $F 1 8 $F 1", "'-ERR souk: bad key of settle'",
     "EXISTS idem:{7}:$H => 0"},
    {"settle: nothing", NULL, "settle idem:{7}:$H", "'-ERR souk: wrong number of arguments of settle'", NULL},

    /* cancel: every state */
    {"cancel: none", NULL, CANCEL, "10", NULL},
    {"cancel: reserved", RESERVED, CANCEL, "0 4 cancelled none ~1000",
     RECORD("cancelled none 4 @+0") " ; HMGET order:{7}:263 e4 reason => cancelled|none|@+60000|@+0|cancel|r-2 changed my mind" EVENT(
         "e 263||4|reserved|cancelled|none|cancel|r-2") DUTY("@+0") NOT_INDEXED("reserved", "none") INDEXED("cancelled", "none") NO_PAYMENT_DUTY
     " ; HGETALL idem:{7}:$I => fp $F s done v 4 ; "
     "PTTL idem:{7}:$I => ~86400000"},
    {"cancel: paid", PAID, CANCEL, "0 4 cancelled refund_due ~1000",
     RECORD("cancelled refund_due 4 @+0") EVENT("e 263||4|paid|cancelled|refund_due|cancel|r-2") DUTY("@+0") NOT_INDEXED("paid", "paid")
         INDEXED("cancelled", "refund_due") PAYMENT_DUTY("@+0") " ; "
                                                                "ZSCORE payments:{7}:refund_due 519 => 777"},
    {"cancel: fulfilled", FULFILLED, CANCEL, "26 fulfilled paid", "EXISTS idem:{7}:$I => 0"},
    {"cancel: cancelled", CANCELLED, CANCEL, "16 3", NULL},
    {"cancel: expired", EXPIRED, CANCEL, "26 expired none", NULL},
    /* cancel: every payment */
    {"cancel: payment processing", ORDER("reserved", "pending", "519") PAYMENT("processing"), CANCEL, "27 519", NULL},
    {"cancel: payment unknown", ORDER("reserved", "pending", "519") PAYMENT("unknown"), CANCEL, "27 519", NULL},
    {"cancel: payment authorized", ORDER("reserved", "authorized", "519") PAYMENT("authorized"), CANCEL, "0 4 cancelled authorized ~1000",
     INDEXED("cancelled", "authorized") PAYMENT_DUTY("@+0") " ; EXISTS payments:{7}:refund_due => 0"},
    {"cancel: payment being captured", ORDER("reserved", "authorized", "519") PAYMENT("processing"), CANCEL, "27 519", NULL},
    {"cancel: payment failed", ORDER("reserved", "none", "519") PAYMENT("failed"), CANCEL, "0 4 cancelled none ~1000", NO_PAYMENT_DUTY},
    {"cancel: payment voided", ORDER("reserved", "none", "519") PAYMENT("voided"), CANCEL, "0 4 cancelled none ~1000", NO_PAYMENT_DUTY},
    {"cancel: the latest of three payments counts", ORDER("reserved", "pending", "775,1031,519") PAYMENT("processing"), CANCEL, "27 519", NULL},
    {"cancel: partially refunded", ORDER("paid", "partially_refunded", "519") PAYMENT("partially_refunded"), CANCEL, "0 4 cancelled refund_due ~1000",
     PAYMENT_DUTY("@+0") " ; ZSCORE payments:{7}:refund_due 519 => 777"},
    {"cancel: paid, but it cost nothing", PAID " ; HSET order:{7}:263 total 0", CANCEL, "0 4 cancelled paid ~1000", NO_PAYMENT_DUTY},
    {"cancel: refunded", ORDER("paid", "refunded", "519") PAYMENT("refunded"), CANCEL, "0 4 cancelled refunded ~1000", NO_PAYMENT_DUTY},
    /* cancel: its key */
    {"cancel: again", RESERVED " ; " CANCEL, CANCEL, "14 4", NULL},
    {"cancel: again with a key of its own", RESERVED " ; " CANCEL, "cancel order:{7}:263 7 263 $J $F '' r", "16 4", NULL},
    {"cancel: once more with that key, the order having moved on",
     RESERVED " ; " CANCEL " ; cancel order:{7}:263 7 263 $J $F '' r ; HSET order:{7}:263 v 5", "cancel order:{7}:263 7 263 $J $F '' r", "14 4",
     NULL},
    {"cancel: with the key of another request", RESERVED " ; " CANCEL, "cancel order:{7}:263 7 263 $I $G '' r", "12", NULL},
    {"cancel: again after a refusal",
     ORDER("reserved", "pending", "519") PAYMENT("processing") " ; " CANCEL " => 27 519 ; HSET payment:{7}:519 status failed", CANCEL,
     "0 4 cancelled pending ~1000", NULL},
    {"cancel: hash too short", RESERVED, "cancel order:{7}:263 7 263 0123 $F '' r", "'-ERR souk: bad argument 3 of cancel'", NULL},
    {"cancel: id 0", RESERVED, "cancel order:{7}:0 7 0 $I $F '' r", "'-ERR souk: bad argument 2 of cancel'", NULL},
    {"cancel: key of another order", RESERVED, "cancel order:{7}:519 7 263 $I $F '' r", "'-ERR souk: bad key of cancel'", NULL},

    /* fulfil: every state */
    {"fulfil: none", NULL, FULFIL, "10", NULL},
    {"fulfil: reserved", RESERVED, FULFIL, "15 0 r-2 26 reserved none", "HGETALL idem:{7}:$I => fp $F s refused answer 26|reserved|none request r-2"},
    {"fulfil: refused while reserved, stays refused when paid", RESERVED " ; " FULFIL " ; HSET order:{7}:263 state paid payment_status paid",
     "fulfil order:{7}:263 7 263 $I $F r-3 D2", "15 1 r-2 26 reserved none",
     "HGET order:{7}:263 state => paid ; fulfil order:{7}:263 7 263 $I $G r-2 D2 => 12"},
    {"fulfil: paid", PAID, FULFIL, "0 4 fulfilled paid ~1000",
     RECORD("fulfilled paid 4 @+0") " ; HMGET order:{7}:263 e4 doc => fulfilled|paid|@+60000|@+0|fulfil|r-2 D2" EVENT(
         "e 263||4|paid|fulfilled|paid|fulfil|r-2") DUTY("@+0") NOT_INDEXED("paid", "paid") INDEXED("fulfilled", "paid") NO_PAYMENT_DUTY
     " ; HGETALL idem:{7}:$I => fp $F s done v 4"},
    {"fulfil: paid, partially refunded", ORDER("paid", "partially_refunded", "519"), FULFIL, "0 4 fulfilled partially_refunded ~1000", NULL},
    {"fulfil: fulfilled", FULFILLED, FULFIL, "16 3", NULL},
    {"fulfil: cancelled", CANCELLED, FULFIL, "26 cancelled none", "EXISTS idem:{7}:$I => 0"},
    {"fulfil: expired", EXPIRED, FULFIL, "26 expired none", "EXISTS idem:{7}:$I => 0"},
    {"fulfil: again", PAID " ; " FULFIL, FULFIL, "14 4", NULL},
    {"fulfil: again with a key of its own", PAID " ; " FULFIL, "fulfil order:{7}:263 7 263 $J $F r D3", "16 4", NULL},
    {"fulfil: once more with that key, the order having moved on",
     PAID " ; " FULFIL " ; fulfil order:{7}:263 7 263 $J $F r D3 ; HSET order:{7}:263 v 5", "fulfil order:{7}:263 7 263 $J $F r D3", "14 4", NULL},
    {"fulfil: with the key of another request", PAID " ; " FULFIL, "fulfil order:{7}:263 7 263 $I $G r D3", "12", NULL},
    {"fulfil: document empty", PAID, "fulfil order:{7}:263 7 263 $I $F r ''", "'-ERR souk: bad argument 6 of fulfil'", NULL},

    /* expire: every state */
    {"expire: none", NULL, EXPIRE, "10", NULL},
    {"expire: reserved", DUE("reserved", "none", "''"), EXPIRE, "0 4 expired none ~1000",
     RECORD("expired none 4 @+0") " ; HGET order:{7}:263 e4 => expired|none|@-1|@+0|expire|" EVENT("e 263||4|reserved|expired|none|expire|")
         DUTY("@+0") NOT_INDEXED("reserved", "none") INDEXED("expired", "none") NO_PAYMENT_DUTY},
    {"expire: paid", DUE("paid", "paid", "519"), EXPIRE, "26 paid paid", NULL},
    {"expire: fulfilled", DUE("fulfilled", "paid", "519"), EXPIRE, "26 fulfilled paid", NULL},
    {"expire: cancelled", DUE("cancelled", "none", "''"), EXPIRE, "26 cancelled none", NULL},
    {"expire: expired", DUE("expired", "none", "''"), EXPIRE, "16 3", NULL},
    {"expire: too early", RESERVED, EXPIRE, "28 ~60000", NULL},
    {"expire: payment authorized", DUE("reserved", "authorized", "519") PAYMENT("authorized"), EXPIRE, "0 4 expired authorized ~1000",
     INDEXED("expired", "authorized") PAYMENT_DUTY("@+0") " ; EXISTS payments:{7}:refund_due => 0"},
    {"expire: payment processing", DUE("reserved", "pending", "519") PAYMENT("processing"), EXPIRE, "0 4 expired pending ~1000", NO_PAYMENT_DUTY},
    {"expire: payment unknown", DUE("reserved", "pending", "519") PAYMENT("unknown"), EXPIRE, "0 4 expired pending ~1000", NO_PAYMENT_DUTY},
    {"expire: payment failed", DUE("reserved", "none", "519") PAYMENT("failed"), EXPIRE, "0 4 expired none ~1000", NO_PAYMENT_DUTY},

    /* order_read */
    {"read: reserved", RESERVED, "order_read order:{7}:263 7 263", "0 @+0 reserved none 3 bob 1999 USD @-1000 @+60000 $T '' @-1000 D1 1", NULL},
    {"read: paid", PAID, "order_read order:{7}:263 7 263", "0 @+0 paid paid 3 bob 1999 USD @-1000 @+60000 $T 519 @-1000 D1 1", NULL},
    {"read: paid, and nothing is owed any more", PAID " ; ZREM txn:{7} 263", "order_read order:{7}:263 7 263",
     "0 @+0 paid paid 3 bob 1999 USD @-1000 @+60000 $T 519 @-1000 D1 0", NULL},
    {"read: what place wrote", PLACE, "order_read order:{7}:263 7 263", "0 @+0 reserved none 1 bob 1999 USD @+0 @+61000 $T '' @+0 D1 1", NULL},
    {"read: none", NULL, "order_read order:{7}:263 7 263", "10", NULL},
    {"read: id garbage", NULL, "order_read order:{7}:2x 7 2x", "'-ERR souk: bad argument 2 of order_read'", NULL},

    /* duty_done: every state */
    {"duty done: confirm", PAID, DUTY_DONE "paid", "0", "EXISTS txn:{7} => 0"},
    {"duty done: consume", FULFILLED, DUTY_DONE "fulfilled", "0", "EXISTS txn:{7} => 0"},
    {"duty done: release of a cancelled one", CANCELLED, DUTY_DONE "cancelled", "0", "EXISTS txn:{7} => 0"},
    {"duty done: release of an expired one", EXPIRED, DUTY_DONE "expired", "0", "EXISTS txn:{7} => 0"},
    {"duty done: fulfilled meanwhile", FULFILLED, DUTY_DONE "paid", "0", DUTY("99")},
    {"duty done: cancelled meanwhile", CANCELLED, DUTY_DONE "paid", "0", DUTY("99")},
    {"duty done: twice", PAID " ; " DUTY_DONE "paid", DUTY_DONE "paid", "0", NULL},
    {"duty done: no such order", NULL, DUTY_DONE "paid", "0", NULL},
    {"duty done: a reservation has no end but expire", RESERVED, DUTY_DONE "reserved", "'-ERR souk: bad argument 3 of duty_done'", NULL},
};

int main(void)
{
    return LUA_RUN("orders", cases);
}
