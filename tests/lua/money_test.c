#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lua_test_lib.h"

/* Order 263 and its first payment, also 263, in partition 7. The key $H placed the order, $I pays, $J does what comes next. */
#define PLACED "place idem:{7}:$H 7 $F 1 $T u1 500 USD 60000 D r => 0 263 @+0 @+60000"
#define PAY(action, capture) PLACED " ; pay order:{7}:263 7 263 $I $F '' " action " " capture " P q1 10000 => 0 263 500 USD @+0 1 " action ":1"
#define RESULT(op, result) "pay_result payment:{7}:263 7 263 " op " " result " g1 '' 900000 5000 q2 ''"
#define ACT(action) "pay_act payment:{7}:263 7 263 '' '' " action " '' q3 7000"
#define REFUND(hash, fp, amount) "refund payment:{7}:263 7 263 " hash " " fp " " amount " why q4 8000"
#define REFUNDED(n, result) "refund_result payment:{7}:263 7 263 " n " " result " '' q5 6000"

#define CHARGING PAY("charge", "automatic")
#define CHARGE_UNKNOWN CHARGING " ; " RESULT("charge:1", "unknown")
#define SUCCEEDED CHARGING " ; " RESULT("charge:1", "succeeded")
#define FAILED CHARGING " ; " RESULT("charge:1", "failed")
#define AUTHORIZING PAY("authorize", "manual")
#define AUTHORIZE_UNKNOWN AUTHORIZING " ; " RESULT("authorize:1", "unknown")
#define AUTHORIZED AUTHORIZING " ; " RESULT("authorize:1", "authorized")
#define CAPTURING AUTHORIZED " ; " ACT("capture")
#define CAPTURE_UNKNOWN CAPTURING " ; " RESULT("capture:3", "unknown")
#define VOIDING AUTHORIZED " ; " ACT("void")
#define VOID_UNKNOWN VOIDING " ; " RESULT("void:3", "unknown")
#define VOIDED VOIDING " ; " RESULT("void:3", "voided")
#define PARTIALLY \
    SUCCEEDED \
    " ; " REFUND("''", "''", "''") " => 26 succeeded ; " REFUND("$J", "$F", "200") " => 0 1 200 USD refund:1 @+0 ; " REFUNDED("1", "succeeded")

/* The order's time is over: as if it had been placed long ago. Its last e says so too. */
#define LAPSE \
    "EVAL 'local v = redis.call(\"HGET\", KEYS[1], \"v\") local e = redis.call(\"HGET\", KEYS[1], \"e\" .. v) " \
    "redis.call(\"HSET\", KEYS[1], \"expires\", \"1000\", \"e\" .. v, (e:gsub(\"^(%l+|[%l_]+|)%d+\", \"%11000\"))) " \
    "redis.call(\"ZADD\", \"txn:{7}\", 1000, \"263\")' 1 order:{7}:263"
#define EXPIRE LAPSE " ; expire order:{7}:263 7 263"
#define CANCEL "cancel order:{7}:263 7 263 $J $F why r"

static const struct lua_case CASES[] = {
    /* pay */
    {"pay: a charge is begun", PLACED, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "0 263 500 USD @+0 1 charge:1",
     "HMGET payment:{7}:263 status v order_id amount currency captured refunded refunding op capture => "
     "processing 1 263 500 USD 0 0 0 charge:1 automatic ; "
     "HMGET payment:{7}:263 created updated gateway_ref failure ikey refunds doc => @+0 @+0 '' '' $I 0 P ; "
     "HMGET order:{7}:263 state payment_status v payments => reserved pending 2 263 ; ZSCORE txn:{7}:pay 263 => @+10000 ; "
     "HMGET idem:{7}:$I s id fp => open 263 $F ; PTTL idem:{7}:$I => ~86400000 ; XLEN events:{7} => 2 ; ZSCORE txn:{7} 263 => @+60000"},
    {"pay: the amount may be said", PLACED, "pay order:{7}:263 7 263 $I $F 500 authorize manual P q1 10000", "0 263 500 USD @+0 1 authorize:1", ""},
    {"pay: amount too small", PLACED, "pay order:{7}:263 7 263 $I $F 499 charge automatic P q1 10000", "29 500", ""},
    {"pay: amount too large", PLACED, "pay order:{7}:263 7 263 $I $F 501 charge automatic P q1 10000", "29 500", ""},
    {"pay: amount zero", PLACED, "pay order:{7}:263 7 263 $I $F 0 charge automatic P q1 10000", "29 500", ""},
    {"pay: the largest amount", "place idem:{7}:$H 7 $F 1 $T u1 9007199254740991 USD 60000 D r",
     "pay order:{7}:263 7 263 $I $F 9007199254740991 charge automatic P q1 10000", "0 263 9007199254740991 USD @+0 1 charge:1",
     RESULT("charge:1", "succeeded") " => 0 2 succeeded 263 paid paid ~0 ; HGET payment:{7}:263 captured => 9007199254740991 ; " REFUND(
         "$J", "$F",
         "9007199254740990") " => 0 1 9007199254740990 USD refund:1 @+0 ; " REFUND("$H", "$G",
                                                                                   "2") " => 12 ; " REFUNDED("1",
                                                                                                             "succeeded") " => 0 4 "
                                                                                                                          "partially_refunded "
                                                                                                                          "partially_refunded "
                                                                                                                          "succeeded ; HGET "
                                                                                                                          "payment:{7}:263 refunded "
                                                                                                                          "=> 9007199254740990"},
    {"pay: an amount that is none", PLACED, "pay order:{7}:263 7 263 $I $F -5 charge automatic P q1 10000", "'-ERR souk: bad argument 5 of pay'", ""},
    {"pay: an operation that is none", PLACED, "pay order:{7}:263 7 263 $I $F '' capture automatic P q1 10000", "'-ERR souk: bad argument 6 of pay'",
     ""},
    {"pay: an order that costs nothing", "place idem:{7}:$H 7 $F 1 $T u1 0 USD 60000 D r",
     "pay order:{7}:263 7 263 $I $F 0 charge automatic P q1 10000", "0 263 0 USD @+0 1 charge:1",
     RESULT("charge:1", "succeeded") " => 0 2 succeeded 263 paid paid ~0 ; " REFUND("$J", "$F", "''") " => 15 0 q4 29 0 ; "
                                                                                                      "pay_done payment:{7}:263 7 263 => 0"},
    {"pay: no such order", "", "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "10", ""},
    {"pay: the same key while it runs", CHARGING, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "13 263", ""},
    {"pay: the same key when it is decided", SUCCEEDED, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "14 263 2", ""},
    {"pay: the same key when it is unknown", CHARGE_UNKNOWN, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "14 263 2", ""},
    {"pay: later versions do not change the replay", CHARGE_UNKNOWN " ; " RESULT("charge:1", "succeeded"),
     "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "14 263 2", "HGET payment:{7}:263 v => 3"},
    {"pay: the key of another request", CHARGING, "pay order:{7}:263 7 263 $I $G '' charge automatic P q1 10000", "12", ""},
    {"pay: the key that placed the order", PLACED, "pay order:{7}:263 7 263 $H $F '' charge automatic P q1 10000", "12", ""},
    {"pay: another payment is processing", CHARGING, "pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000", "27 263", ""},
    {"pay: another payment is unknown", CHARGE_UNKNOWN, "pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000", "27 263", ""},
    {"pay: another payment is authorized", AUTHORIZED, "pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000", "27 263", ""},
    {"pay: again after a failure", FAILED, "pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000", "0 519 500 USD @+0 1 charge:1",
     "HMGET order:{7}:263 payments payment_status v => 263,519 pending 4 ; ZRANGE payments:{7} 0 -1 => 263 519 ; ZRANGE payments:{7}:user:u1 0 -1 => "
     "263 519"},
    {"pay: paid already", SUCCEEDED, "pay order:{7}:263 7 263 $J $F '' charge automatic P q1 10000", "26 paid paid", ""},
    {"pay: cancelled", PLACED " ; " CANCEL, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "26 cancelled none", ""},
    {"pay: expired", PLACED " ; " EXPIRE, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "26 expired none", ""},
    {"pay: its time is over", PLACED " ; " LAPSE, "pay order:{7}:263 7 263 $I $F '' charge automatic P q1 10000", "28", ""},
    {"pay: a wrong key", PLACED, "pay order:{8}:263 7 263 $I $F '' charge automatic P q1 10000", "'-ERR souk: bad key of pay'", ""},

    /* pay_result */
    {"charge succeeded", CHARGING, RESULT("charge:1", "succeeded"), "0 2 succeeded 263 paid paid ~0",
     "HMGET order:{7}:263 state payment_status v => paid paid 3 ; HMGET payment:{7}:263 status captured gateway_ref v => succeeded 500 g1 2 ; "
     "ZSCORE txn:{7} 263 => @+3000 ; ZSCORE txn:{7}:pay 263 => (nil) ; HMGET idem:{7}:$I s v id => done 2 263 ; XLEN events:{7} => 3"},
    {"charge succeeded twice", SUCCEEDED, RESULT("charge:1", "succeeded"), "16 2 succeeded", ""},
    {"charge succeeded, time over but still reserved", CHARGING " ; " LAPSE, RESULT("charge:1", "succeeded"), "0 2 succeeded 263 paid paid ~0", ""},
    {"charge failed", CHARGING, "pay_result payment:{7}:263 7 263 charge:1 failed g1 'card|declined by bank' 0 5000 q2 ''",
     "0 2 failed 263 reserved none ~0",
     "HMGET payment:{7}:263 status failure captured => failed card_declined_by_bank 0 ; ZSCORE txn:{7}:pay 263 => (nil) ; "
     "HMGET idem:{7}:$I s v => done 2 ; HGET order:{7}:263 payment_status => none ; ZSCORE txn:{7} 263 => @+60000"},
    {"charge unknown", CHARGING, RESULT("charge:1", "unknown"), "0 2 unknown 263 reserved pending ~0",
     "ZSCORE txn:{7}:pay 263 => @+5000 ; HGET order:{7}:263 v => 2 ; HMGET idem:{7}:$I s v => done 2 ; XLEN events:{7} => 2"},
    {"charge unknown again is no version", CHARGE_UNKNOWN, "pay_result payment:{7}:263 7 263 charge:1 unknown '' '' 0 20000 q2 ''",
     "0 2 unknown 263 reserved pending ~0", "ZSCORE txn:{7}:pay 263 => @+20000 ; HEXISTS payment:{7}:263 e3 => 0"},
    {"charge unknown, then succeeded", CHARGE_UNKNOWN, RESULT("charge:1", "succeeded"), "0 3 succeeded 263 paid paid ~0", "ZCARD txn:{7}:pay => 0"},
    {"charge unknown, then failed", CHARGE_UNKNOWN, RESULT("charge:1", "failed"), "0 3 failed 263 reserved none ~0", "ZCARD txn:{7}:pay => 0"},
    {"an empty reference keeps the one that is known", CHARGE_UNKNOWN, "pay_result payment:{7}:263 7 263 charge:1 succeeded '' '' 0 0 q2 ''",
     "0 3 succeeded 263 paid paid ~0", "HGET payment:{7}:263 gateway_ref => g1"},
    {"its client was told unknown, and is told so again", CHARGE_UNKNOWN, "pay_result payment:{7}:263 7 263 charge:1 succeeded g1 '' 0 0 q2 $I",
     "0 2 succeeded 263 paid paid ~0", "HGET payment:{7}:263 v => 3"},
    {"its client is told what was decided, though it was refunded since", SUCCEEDED " ; " REFUND("$J", "$F", "500") " ; " REFUNDED("1", "succeeded"),
     "pay_result payment:{7}:263 7 263 charge:1 unknown '' '' 0 0 q2 $I", "16 2 refunded", "HGET payment:{7}:263 v => 4"},
    {"another operation", CHARGING, RESULT("charge:2", "succeeded"), "16 1 processing", ""},
    {"a result that a charge cannot have", CHARGING, RESULT("charge:1", "authorized"), "26 processing", ""},
    {"a result of no payment", PLACED, RESULT("charge:1", "succeeded"), "10", ""},
    {"the idempotency record is gone", CHARGING " ; DEL idem:{7}:$I", RESULT("charge:1", "succeeded"), "0 2 succeeded 263 paid paid ~0",
     "EXISTS idem:{7}:$I => 0"},
    {"authorized", AUTHORIZING, RESULT("authorize:1", "authorized"), "0 2 authorized 263 reserved authorized ~0",
     "HMGET order:{7}:263 expires v => @+900000 3 ; ZSCORE txn:{7} 263 => @+900000 ; ZCARD txn:{7}:pay => 0 ; HMGET idem:{7}:$I s v => done 2"},
    {"authorized for less time than the order has", AUTHORIZING, "pay_result payment:{7}:263 7 263 authorize:1 authorized g1 '' 10 0 q2 ''",
     "0 2 authorized 263 reserved authorized ~0", "HGET order:{7}:263 expires => @+60000 ; ZSCORE txn:{7} 263 => @+60000"},
    {"authorized after the order expired", AUTHORIZING " ; " EXPIRE, RESULT("authorize:1", "authorized"), "0 2 authorized 263 expired authorized ~0",
     "ZSCORE txn:{7}:pay 263 => @+0 ; HGET order:{7}:263 expires => 1000 ; "
     "payment_read payment:{7}:263 7 263 => 0 @+0 void 0 authorized … ; pay_done payment:{7}:263 7 263 => 0 0"},
    {"late success after expiry is owed back, and refunded by itself", CHARGING " ; " EXPIRE, RESULT("charge:1", "succeeded"),
     "0 2 succeeded 263 expired refund_due ~0",
     "ZRANGE payments:{7}:refund_due 0 -1 => 263 ; ZSCORE txn:{7}:pay 263 => @+0 ; "
     "payment_read payment:{7}:263 7 263 => 0 @+0 refund 0 succeeded … ; " REFUND(
         "''", "''",
         "''") " => 0 1 500 USD refund:1 @+0 ; ZSCORE txn:{7}:pay 263 => @+8000 ; " REFUND("''", "''",
                                                                                           "''") " => 13 1 ; "
                                                                                                 "payment_read payment:{7}:263 7 263 => 0 @+0 "
                                                                                                 "reconcile_refund 1 succeeded … ; " REFUNDED(
                                                                                                     "1",
                                                                                                     "succeeded") " => 0 4 refunded refunded "
                                                                                                                  "succeeded ; "
                                                                                                                  "ZCARD payments:{7}:refund_due => "
                                                                                                                  "0 ; ZCARD txn:{7}:pay => 0 ; "
                                                                                                                  "HMGET order:{7}:263 state "
                                                                                                                  "payment_status => expired "
                                                                                                                  "refunded ; " REFUND(
                                                                                                                      "''", "''",
                                                                                                                      "''") " => 26 refunded"},
    {"late failure after expiry owes nothing", CHARGING " ; " EXPIRE, RESULT("charge:1", "failed"), "0 2 failed 263 expired none ~0",
     "ZCARD payments:{7}:refund_due => 0 ; ZCARD txn:{7}:pay => 0"},

    /* pay_act */
    {"capture is begun", AUTHORIZED, "pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000", "0 500 USD 3 capture:3 P",
     "HMGET payment:{7}:263 status op ikey v => processing capture:3 $J 3 ; HMGET order:{7}:263 payment_status v => authorized 3 ; "
     "ZSCORE txn:{7}:pay 263 => @+7000 ; HMGET idem:{7}:$J s v id => open 3 263"},
    {"capture of the whole", AUTHORIZED, "pay_act payment:{7}:263 7 263 $J $F capture 500 q3 7000", "0 500 USD 3 capture:3 P", ""},
    {"capture of less", AUTHORIZED, "pay_act payment:{7}:263 7 263 $J $F capture 499 q3 7000", "15 0 q3 29 500", ""},
    {"capture of more", AUTHORIZED, "pay_act payment:{7}:263 7 263 $J $F capture 501 q3 7000", "15 0 q3 29 500", ""},
    {"capture of no payment", PLACED, "pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000", "10", ""},
    {"a capture that came before the authorization stays refused",
     AUTHORIZING " ; pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000 ; " RESULT("authorize:1", "authorized"),
     "pay_act payment:{7}:263 7 263 $J $F capture '' q9 7000", "15 1 q3 26 processing reserved",
     "HGET payment:{7}:263 status => authorized ; " ACT("capture") " => 0 500 USD 3 capture:3 P"},
    {"capture of a charge", SUCCEEDED, "pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000", "15 0 q3 26 succeeded paid", ""},
    {"capture for an order that expired", AUTHORIZED " ; " EXPIRE, "pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000",
     "15 0 q3 26 authorized expired", ""},
    {"capture again while it runs", AUTHORIZED " ; pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000",
     "pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000", "13 3", ""},
    {"capture again when it is done", AUTHORIZED " ; pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000 ; " RESULT("capture:3", "succeeded"),
     "pay_act payment:{7}:263 7 263 $J $F capture '' q3 7000", "14 4", ""},
    {"capture with the key of another request", AUTHORIZED, "pay_act payment:{7}:263 7 263 $I $G capture '' q3 7000", "12", ""},
    {"capture succeeded", CAPTURING, RESULT("capture:3", "succeeded"), "0 4 succeeded 263 paid paid ~0",
     "HGET payment:{7}:263 captured => 500 ; ZSCORE txn:{7} 263 => @+3000"},
    {"capture failed: authorized again", CAPTURING, "pay_result payment:{7}:263 7 263 capture:3 failed '' too_late 0 0 q2 ''",
     "0 4 authorized 263 reserved authorized ~0",
     "HMGET payment:{7}:263 captured failure => 0 too_late ; ZCARD txn:{7}:pay => 0 ; HGET order:{7}:263 v => 3 ; " ACT(
         "capture") " => 0 500 USD 5 capture:5 P"},
    {"capture failed after the order expired: void", CAPTURING " ; " EXPIRE, RESULT("capture:3", "failed"),
     "0 4 authorized 263 expired authorized ~0",
     "ZSCORE txn:{7}:pay 263 => @+0 ; " ACT("void") " => 0 500 USD 5 void:5 P ; " RESULT("void:5", "voided") " => 0 6 expired 263 expired none ~0"},
    {"capture succeeded after the order expired: owed back", CAPTURING " ; " EXPIRE, RESULT("capture:3", "succeeded"),
     "0 4 succeeded 263 expired refund_due ~0", "ZRANGE payments:{7}:refund_due 0 -1 => 263 ; ZSCORE txn:{7}:pay 263 => @+0"},
    {"the result of the authorization comes again during the capture", CAPTURING, RESULT("authorize:1", "authorized"), "16 3 processing", ""},
    {"void: done", VOIDING, RESULT("void:3", "voided"), "0 4 voided 263 reserved none ~0",
     "ZCARD txn:{7}:pay => 0 ; HGET order:{7}:263 payment_status => none"},
    {"void: it also succeeds", VOIDING, RESULT("void:3", "succeeded"), "0 4 voided 263 reserved none ~0", ""},
    {"void failed: authorized again", VOIDING, RESULT("void:3", "failed"), "0 4 authorized 263 reserved authorized ~0", "ZCARD txn:{7}:pay => 0"},
    {"cancel with an authorization: void is due, and ends it", AUTHORIZED, CANCEL, "0 4 cancelled authorized ~0",
     "ZSCORE txn:{7}:pay 263 => @+0 ; payment_read payment:{7}:263 7 263 => 0 @+0 void 0 authorized … ; " ACT(
         "void") " => 0 500 USD 3 void:3 P ; "
                 "ZSCORE txn:{7}:pay 263 => @+7000 ; " RESULT("void:3", "voided") " => 0 4 voided 263 cancelled none ~0 ; "
                                                                                  "pay_done payment:{7}:263 7 263 => 0"},
    {"a void that is due and fails is tried again after a pause", AUTHORIZED " ; " CANCEL " ; " ACT("void"), RESULT("void:3", "failed"),
     "0 4 authorized 263 cancelled authorized ~0", "ZSCORE txn:{7}:pay 263 => @+80000 ; pay_done payment:{7}:263 7 263 => 0 ~80000"},
    {"a void that is due and never reached the gateway is tried again soon", AUTHORIZED " ; " CANCEL " ; " ACT("void"),
     "pay_result payment:{7}:263 7 263 void:3 failed g1 closed 900000 5000 q2 ''", "0 4 authorized 263 cancelled authorized ~0",
     "ZSCORE txn:{7}:pay 263 => @+5000"},

    /* refund */
    {"refund of a part", SUCCEEDED, REFUND("$J", "$F", "200"), "0 1 200 USD refund:1 @+0",
     "HMGET payment:{7}:263 status refunding refunded refunds v => succeeded 200 0 1 3 ; ZSCORE txn:{7}:pay 263 => @+8000 ; "
     "HMGET idem:{7}:$J s n id => open 1 263 ; HGET order:{7}:263 payment_status => paid"},
    {"refund of all", SUCCEEDED, REFUND("$J", "$F", "''"), "0 1 500 USD refund:1 @+0", ""},
    {"refund of all, said", SUCCEEDED, REFUND("$J", "$F", "500"), "0 1 500 USD refund:1 @+0", ""},
    {"refund of one", SUCCEEDED, REFUND("$J", "$F", "1"), "0 1 1 USD refund:1 @+0", ""},
    {"refund of nothing", SUCCEEDED, REFUND("$J", "$F", "0"), "15 0 q4 29 500", ""},
    {"refund of too much", SUCCEEDED, REFUND("$J", "$F", "501"), "15 0 q4 29 500", ""},
    {"refund of what is not captured", AUTHORIZED, REFUND("$J", "$F", "1"), "15 0 q4 26 authorized", ""},
    {"refund of a failed one", FAILED, REFUND("$J", "$F", "1"), "15 0 q4 26 failed", ""},
    {"refund of no payment", PLACED, REFUND("$J", "$F", "1"), "10", ""},
    {"refund by duty when none is due", SUCCEEDED, REFUND("''", "''", "''"), "26 succeeded", ""},
    {"refund again while it runs", SUCCEEDED " ; " REFUND("$J", "$F", "200"), REFUND("$J", "$F", "200"), "13 1", ""},
    {"refund again when it is done", SUCCEEDED " ; " REFUND("$J", "$F", "200") " ; " REFUNDED("1", "succeeded"), REFUND("$J", "$F", "200"),
     "14 1 succeeded 4", ""},
    {"refund again when it is unknown, later succeeded",
     SUCCEEDED " ; " REFUND("$J", "$F", "200") " ; " REFUNDED("1", "unknown") " ; " REFUNDED("1", "succeeded"), REFUND("$J", "$F", "200"),
     "14 1 unknown 4", ""},
    {"refund with the key of another request", SUCCEEDED, REFUND("$I", "$G", "200"), "12", ""},
    {"two refunds racing: the second gets what is left", SUCCEEDED " ; " REFUND("$J", "$F", "300"),
     REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$F", "200"), "0 2 200 USD refund:2 @+0",
     REFUND("aaaabbbbccccddddaaaabbbbccccdddf", "$F", "''") " => 15 0 q4 29 0 ; " REFUNDED(
         "2",
         "succeeded") " => 0 5 partially_refunded partially_refunded succeeded ; " REFUNDED("1",
                                                                                            "succeeded") " => 0 6 refunded refunded succeeded ; "
                                                                                                         "HMGET payment:{7}:263 refunded refunding "
                                                                                                         "=> 500 0 ; ZCARD txn:{7}:pay => 0"},
    {"a refund that was above what was left stays refused, also when more is left",
     SUCCEEDED
     " ; " REFUND("$J", "$F", "300") " ; " REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$F", "201") " => 15 0 q4 29 200 ; " REFUNDED("1", "failed"),
     "refund payment:{7}:263 7 263 aaaabbbbccccddddaaaabbbbccccdddd $F 201 why q9 8000", "15 1 q4 29 200",
     REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$G", "201") " => 12 ; " REFUND("aaaabbbbccccddddaaaabbbbccccdddf", "$F",
                                                                                "201") " => 0 2 201 USD refund:2 @+0"},
    {"two refunds racing: the first fails, its part is free again", SUCCEEDED " ; " REFUND("$J", "$F", "300"), REFUNDED("1", "failed"),
     "0 4 succeeded paid failed",
     "HMGET payment:{7}:263 refunded refunding => 0 0 ; " REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$F", "''") " => 0 2 500 USD refund:2 @+0"},
    {"a reason may contain anything", SUCCEEDED, "refund payment:{7}:263 7 263 $J $F 5 '|a|b|' q|4 8000", "0 1 5 USD refund:1 @+0",
     REFUNDED("1", "succeeded") " => 0 4 partially_refunded partially_refunded succeeded"},

    /* refund_result */
    {"refund succeeded", SUCCEEDED " ; " REFUND("$J", "$F", "200"), REFUNDED("1", "succeeded"), "0 4 partially_refunded partially_refunded succeeded",
     "HMGET payment:{7}:263 status refunded refunding => partially_refunded 200 0 ; "
     "HMGET order:{7}:263 state payment_status v => paid partially_refunded 4 ; "
     "ZCARD txn:{7}:pay => 0 ; HMGET idem:{7}:$J s n status v => done 1 succeeded 4"},
    {"a second part is no version of the order",
     SUCCEEDED " ; " REFUND("$J", "$F", "200") " ; " REFUNDED("1", "succeeded") " ; " REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$F", "100"),
     REFUNDED("2", "succeeded"), "0 6 partially_refunded partially_refunded succeeded", "HGET order:{7}:263 v => 4"},
    {"refund unknown stays counted", SUCCEEDED " ; " REFUND("$J", "$F", "200"), REFUNDED("1", "unknown"), "0 4 succeeded paid unknown",
     "HMGET payment:{7}:263 refunded refunding => 0 200 ; ZSCORE txn:{7}:pay 263 => @+6000 ; "
     "payment_read payment:{7}:263 7 263 => 0 @+0 reconcile_refund 1 … ; " REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$F",
                                                                                  "301") " => 15 0 q4 29 300"},
    {"refund unknown again is no version", SUCCEEDED " ; " REFUND("$J", "$F", "200") " ; " REFUNDED("1", "unknown"),
     "refund_result payment:{7}:263 7 263 1 unknown '' q5 20000", "0 4 succeeded paid unknown", "ZSCORE txn:{7}:pay 263 => @+20000"},
    {"refund failed", SUCCEEDED " ; " REFUND("$J", "$F", "200"), "refund_result payment:{7}:263 7 263 1 failed no_funds q5 6000",
     "0 4 succeeded paid failed", "HMGET payment:{7}:263 status refunding failure => succeeded 0 no_funds ; ZCARD txn:{7}:pay => 0"},
    {"refund unknown, then succeeded: its client is told as before", SUCCEEDED " ; " REFUND("$J", "$F", "200") " ; " REFUNDED("1", "unknown"),
     REFUNDED("1", "succeeded"), "0 5 partially_refunded partially_refunded unknown", "HGET payment:{7}:263 refunded => 200"},
    {"refund decided twice", SUCCEEDED " ; " REFUND("$J", "$F", "200") " ; " REFUNDED("1", "succeeded"), REFUNDED("1", "failed"), "16 succeeded", ""},
    {"no such refund", SUCCEEDED, REFUNDED("1", "succeeded"), "10", ""},
    {"no such payment", PLACED, REFUNDED("1", "succeeded"), "10", ""},
    {"cancelled after it was paid: owed back until all is", SUCCEEDED, CANCEL, "0 4 cancelled refund_due ~0",
     "ZRANGE payments:{7}:refund_due 0 -1 => 263 ; ZSCORE txn:{7}:pay 263 => @+0 ; " REFUND("$H", "$G", "1") " => 12 ; " REFUND(
         "aaaabbbbccccddddaaaabbbbccccdddd", "$F",
         "100") " => 0 1 100 USD refund:1 @+0 ; " REFUNDED("1",
                                                           "succeeded") " => 0 4 partially_refunded refund_due succeeded ; "
                                                                        "ZRANGE payments:{7}:refund_due 0 -1 => 263 ; ZSCORE txn:{7}:pay 263 => @+0 "
                                                                        "; HGET order:{7}:263 v => 4 ; " REFUND(
                                                                            "''", "''",
                                                                            "''") " => 0 2 400 USD refund:2 @+0 ; " REFUNDED("2",
                                                                                                                             "succeeded") " => 0 6 "
                                                                                                                                          "refunded "
                                                                                                                                          "refunded "
                                                                                                                                          "succeeded "
                                                                                                                                          "; "
                                                                                                                                          "ZCARD "
                                                                                                                                          "payments:{"
                                                                                                                                          "7}:refund_"
                                                                                                                                          "due => 0 "
                                                                                                                                          "; HGET "
                                                                                                                                          "order:{7}:"
                                                                                                                                          "263 v => "
                                                                                                                                          "5 ; ZCARD "
                                                                                                                                          "txn:{7}:"
                                                                                                                                          "pay => 0"},
    {"cancelled after a part was refunded", PARTIALLY, "cancel order:{7}:263 7 263 aaaabbbbccccddddaaaabbbbccccdddd $F why r",
     "0 5 cancelled refund_due ~0",
     REFUND("''", "''", "''") " => 0 2 300 USD refund:2 @+0 ; " REFUNDED("2", "succeeded") " => 0 6 refunded refunded succeeded"},
    {"a due refund that fails is tried again after a pause", SUCCEEDED " ; " CANCEL " ; " REFUND("''", "''", "''"), REFUNDED("1", "failed"),
     "0 4 succeeded refund_due failed",
     "ZSCORE txn:{7}:pay 263 => @+80000 ; pay_done payment:{7}:263 7 263 => 0 ~80000 ; " REFUND("''", "''", "''") " => 0 2 500 USD refund:2 @+0"},
    {"a due refund that never reached the gateway is tried again soon", SUCCEEDED " ; " CANCEL " ; " REFUND("''", "''", "''"),
     "refund_result payment:{7}:263 7 263 1 failed closed q5 6000", "0 4 succeeded refund_due failed",
     "ZSCORE txn:{7}:pay 263 => @+5000 ; " REFUND("''", "''", "''") " => 0 2 500 USD refund:2 @+0"},

    /* pay_done */
    {"pay_done: the gateway must still be asked", CHARGING, "pay_done payment:{7}:263 7 263", "0 ~10000", "ZCARD txn:{7}:pay => 1"},
    {"pay_done: nothing is left", SUCCEEDED " ; ZADD txn:{7}:pay 5 263", "pay_done payment:{7}:263 7 263", "0", "ZCARD txn:{7}:pay => 0"},
    {"pay_done: overdue", CHARGING " ; ZADD txn:{7}:pay 5 263", "pay_done payment:{7}:263 7 263", "0 0", "ZSCORE txn:{7}:pay 263 => 5"},
    {"pay_done: a duty that was lost comes back", CHARGING " ; DEL txn:{7}:pay", "pay_done payment:{7}:263 7 263", "0 ~5000",
     "ZSCORE txn:{7}:pay 263 => @+5000"},
    {"pay_done: no such payment", "ZADD txn:{7}:pay 5 263", "pay_done payment:{7}:263 7 263", "0", "ZCARD txn:{7}:pay => 0"},

    /* payment_read */
    {"payment_read: none", "", "payment_read payment:{7}:263 7 263", "10", ""},
    {"payment_read: all of it", PARTIALLY, "payment_read payment:{7}:263 7 263",
     "0 @+0 none 0 partially_refunded 4 263 500 USD 500 200 0 charge:1 automatic @+0 @+0 g1 '' $I 1 P paid partially_refunded ~0", ""},
    {"payment_read: while a charge runs", CHARGING, "payment_read payment:{7}:263 7 263",
     "0 @+0 reconcile 0 processing 1 263 500 USD 0 0 0 charge:1 automatic @+0 @+0 '' '' $I 0 P reserved pending ~0", ""},
};

/*
 * Where a payment and its order can be, and what each transition does there: a number is the answer's code and nothing has changed, a word is the
 * payment's status afterwards.
 */
enum { PAY_AGAIN, CAPTURE, VOID, SUCCEED, FAIL, AUTHORIZE, GET_VOIDED, LOSE, REFUND_SOME, REFUND_DONE, TRANSITIONS };

static const char *const CALLS[TRANSITIONS] = {
    "pay order:{7}:263 7 263 00000000000000000000000000000001 $F '' charge automatic P q 9000",
    "pay_act payment:{7}:263 7 263 00000000000000000000000000000002 $F capture '' q 9000",
    "pay_act payment:{7}:263 7 263 00000000000000000000000000000003 $F void '' q 9000",
    "pay_result payment:{7}:263 7 263 OP succeeded g '' 0 9000 q ''",
    "pay_result payment:{7}:263 7 263 OP failed g no 0 9000 q ''",
    "pay_result payment:{7}:263 7 263 OP authorized g '' 900000 9000 q ''",
    "pay_result payment:{7}:263 7 263 OP voided g '' 0 9000 q ''",
    "pay_result payment:{7}:263 7 263 OP unknown g '' 0 9000 q ''",
    "refund payment:{7}:263 7 263 00000000000000000000000000000004 $F 100 why q 9000",
    "refund_result payment:{7}:263 7 263 1 succeeded '' q 9000",
};

#define REFUNDED_ALL PARTIALLY " ; " REFUND("aaaabbbbccccddddaaaabbbbccccdddd", "$F", "''") " ; " REFUNDED("2", "succeeded")
#define NO_RESULT "16", "16", "16", "16", "16"

static const struct {
    const char *name, *given, *want[TRANSITIONS];
} PLACES[] = {
    {"charging", CHARGING, {"27", "26", "26", "succeeded", "failed", "26", "26", "unknown", "26", "10"}},
    {"charge unknown", CHARGE_UNKNOWN, {"27", "26", "26", "succeeded", "failed", "26", "26", "unknown", "26", "10"}},
    {"succeeded", SUCCEEDED, {"26", "26", "26", NO_RESULT, "succeeded", "10"}},
    {"failed", FAILED, {"failed", "26", "26", NO_RESULT, "26", "10"}},
    {"authorizing", AUTHORIZING, {"27", "26", "26", "26", "failed", "authorized", "voided", "unknown", "26", "10"}},
    {"authorize unknown", AUTHORIZE_UNKNOWN, {"27", "26", "26", "26", "failed", "authorized", "voided", "unknown", "26", "10"}},
    {"authorized", AUTHORIZED, {"27", "processing", "processing", NO_RESULT, "26", "10"}},
    {"capturing", CAPTURING, {"27", "26", "26", "succeeded", "authorized", "authorized", "voided", "unknown", "26", "10"}},
    {"capture unknown", CAPTURE_UNKNOWN, {"27", "26", "26", "succeeded", "authorized", "authorized", "voided", "unknown", "26", "10"}},
    {"voiding", VOIDING, {"27", "26", "26", "voided", "authorized", "authorized", "voided", "unknown", "26", "10"}},
    {"void unknown", VOID_UNKNOWN, {"27", "26", "26", "voided", "authorized", "authorized", "voided", "unknown", "26", "10"}},
    {"voided", VOIDED, {"voided", "26", "26", NO_RESULT, "26", "10"}},
    {"refunding", SUCCEEDED " ; " REFUND("$J", "$F", "100"), {"26", "26", "26", NO_RESULT, "succeeded", "partially_refunded"}},
    {"refunding all", SUCCEEDED " ; " REFUND("$J", "$F", "500"), {"26", "26", "26", NO_RESULT, "29", "refunded"}},
    {"partially refunded", PARTIALLY, {"26", "26", "26", NO_RESULT, "partially_refunded", "16"}},
    {"refunded", REFUNDED_ALL, {"26", "26", "26", NO_RESULT, "26", "16"}},
    {"charging, order expired", CHARGING " ; " EXPIRE, {"26", "26", "26", "succeeded", "failed", "26", "26", "unknown", "26", "10"}},
    {"authorizing, order expired", AUTHORIZING " ; " EXPIRE, {"26", "26", "26", "26", "failed", "authorized", "expired", "unknown", "26", "10"}},
    {"authorized, order expired", AUTHORIZED " ; " EXPIRE, {"26", "26", "processing", NO_RESULT, "26", "10"}},
    {"capturing, order expired",
     CAPTURING " ; " EXPIRE,
     {"26", "26", "26", "succeeded", "authorized", "authorized", "expired", "unknown", "26", "10"}},
    {"voiding, order expired",
     AUTHORIZED " ; " EXPIRE " ; " ACT("void"),
     {"26", "26", "26", "expired", "authorized", "authorized", "expired", "unknown", "26", "10"}},
    {"expired", AUTHORIZED " ; " EXPIRE " ; " ACT("void") " ; " RESULT("void:3", "voided"), {"26", "26", "26", NO_RESULT, "26", "10"}},
    {"owed, order expired", CHARGING " ; " EXPIRE " ; " RESULT("charge:1", "succeeded"), {"26", "26", "26", NO_RESULT, "succeeded", "10"}},
    {"authorized, order cancelled", AUTHORIZED " ; " CANCEL, {"26", "26", "processing", NO_RESULT, "26", "10"}},
    {"owed, order cancelled", SUCCEEDED " ; " CANCEL, {"26", "26", "26", NO_RESULT, "succeeded", "10"}},
    {"being paid back, order cancelled", SUCCEEDED " ; " CANCEL " ; " REFUND("''", "''", "''"), {"26", "26", "26", NO_RESULT, "29", "refunded"}},
};

/*
 * Every order and payment is in exactly the one index that its record says, every version has its e, every version of an order its event, and the
 * audit finds nothing.
 */
static void check_store(struct lua_shard *shard)
{
    lua_check(shard,
              "EVAL 'for _, kind in ipairs({\"order\", \"payment\"}) do local list, found = kind .. \"s:{7}\", 0 "
              "local all = redis.call(\"ZRANGE\", list, 0, -1) "
              "for _, name in ipairs(redis.call(\"KEYS\", list .. \":in:*\")) do for _, id in ipairs(redis.call(\"ZRANGE\", name, 0, -1)) do "
              "local r = redis.call(\"HMGET\", kind .. \":{7}:\" .. id, \"state\", \"payment_status\", \"status\") "
              "if name ~= list .. \":in:\" .. (r[1] and r[1] .. \":\" .. r[2] or r[3]) then return \"wrong index\" end found = found + 1 end end "
              "if found ~= #all then return \"not in one index\" end "
              "for _, id in ipairs(all) do local r = kind .. \":{7}:\" .. id for n = 1, redis.call(\"HGET\", r, \"v\") do "
              "if redis.call(\"HEXISTS\", r, \"e\" .. n) == 0 then return \"no e\" end end end end "
              "if redis.call(\"XLEN\", \"events:{7}\") ~= tonumber(redis.call(\"HGET\", \"order:{7}:263\", \"v\")) then return \"events\" end "
              "return \"fine\"' 0 => fine");
    lua_check(shard, "audit_orders orders:{7} 7 '' '' 10 0 => 0 '' '' 1 * '' …");
}

/* What stands before a refusal that the key keeps. */
#define KEPT "15 0 q "

static void try_transition(struct lua_shard *shard, const char *given, const char *call, const char *want)
{
    char line[512], *op, *got;
    const char *place = strstr(call, "OP");

    lua_check(shard, "FLUSHALL ; HSET souk:shard name a epoch 3 partitions 256");
    lua_check(shard, given);
    check_store(shard);
    op = lua_do(shard, "HGET payment:{7}:263 op");
    if (place)
        snprintf(line, sizeof(line), "%.*s%s%s", (int)(place - call), call, op, place + 2);
    else
        snprintf(line, sizeof(line), "%s", call);
    free(op);
    got = lua_do(shard, "%s", line);
    if (want[0] < '0' || want[0] > '9') {
        if (strncmp(got, "0 ", 2) != 0)
            fail_msg("%s: %s", line, got);
        free(got);
        got = lua_do(shard, "HGET payment:{7}:263 status");
    }
    const char *refusal = strncmp(got, KEPT, strlen(KEPT)) == 0 ? got + strlen(KEPT) : got;
    if (strncmp(refusal, want, strlen(want)) != 0)
        fail_msg("%s: %s, not %s", line, got, want);
    free(got);
    check_store(shard);
}

static void every_transition_from_everywhere(struct lua_shard *shard)
{
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
        print_message("             %s\n", PLACES[i].name);
        for (int call = 0; call < TRANSITIONS; call++)
            try_transition(shard, PLACES[i].given, CALLS[call], PLACES[i].want[call]);
    }
}

static void twenty_attempts_and_no_more(struct lua_shard *shard)
{
    lua_check(shard, PLACED);
    for (int i = 1; i <= 21; i++) {
        char *got = lua_do(shard, "pay order:{7}:263 7 263 %032x $F '' charge automatic P q 9000", (unsigned)i);
        assert_int_equal(atoi(got), i <= 20 ? 0 : 26);
        free(got);
        if (i <= 20)
            free(lua_do(shard, "pay_result payment:{7}:%d 7 %d charge:1 failed g no 0 9000 q ''", 256 * i + 7, 256 * i + 7));
    }
    lua_check(shard, "ZCARD payments:{7} => 20 ; ZCARD payments:{7}:in:failed => 20");
    check_store(shard);
}

static void a_hundred_refunds_and_no_more(struct lua_shard *shard)
{
    lua_check(shard, SUCCEEDED);
    for (int i = 1; i <= 101; i++) {
        char *got = lua_do(shard, "refund payment:{7}:263 7 263 %032x $F 1 '' q 9000", (unsigned)i);
        assert_int_equal(strncmp(got, i <= 100 ? "0 " : KEPT "26 ", i <= 100 ? 2 : strlen(KEPT "26 ")), 0);
        free(got);
        if (i <= 100)
            free(lua_do(shard, "refund_result payment:{7}:263 7 263 %d succeeded '' q 9000", i));
    }
    lua_check(shard, "HMGET payment:{7}:263 refunded refunds => 100 100 ; cancel order:{7}:263 7 263 $J $F why r => 0 5 cancelled refund_due ~0");
    lua_check(shard, REFUND("''", "''", "''") " => 0 101 400 USD refund:101 @+0");
    check_store(shard);
}

int main(void)
{
    static const struct lua_story STORIES[] = {
        {"every transition from everywhere", every_transition_from_everywhere},
        {"twenty attempts and no more", twenty_attempts_and_no_more},
        {"a hundred refunds and no more", a_hundred_refunds_and_no_more},
    };

    return LUA_RUN_WITH("money", CASES, STORIES);
}
