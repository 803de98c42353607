#include "lua_test_lib.h"

/* A product 5 in partition 5 with a version and some stock, as the functions leave it. */
#define PRODUCT(v) "HSET product:{5}:5 v " v " doc D1 ; ZADD products:{5} 5 5 ; "
#define STOCK(on_hand, held, committed) "HSET stock:{5}:5 on_hand " on_hand " held " held " committed " committed " v 4"
#define IDEM "idem:{5}:$H 5 $F "

static const struct lua_case cases[] = {
    /* product_create */
    {"create makes product, stock, index and ledger", NULL, "product_create " IDEM "D1 40", "0 261 1",
     "HGETALL product:{5}:261 => v 1 doc D1 ; HGETALL stock:{5}:261 => on_hand 40 held 0 committed 0 v 1 ; ZSCORE products:{5} 261 => 261 ; "
     "XRANGE moves:{5}:261 - + => * m create|40|||40|0|0|1| ; EXISTS asks:{5} => 0 ; "
     "HGETALL seq:{5} => product 1"},
    {"create without stock", NULL, "product_create " IDEM "D1 0", "0 261 1", "HGET stock:{5}:261 on_hand => 0"},
    {"create with the most stock there can be", NULL, "product_create " IDEM "D1 9007199254740991", "0 261 1",
     "HGET stock:{5}:261 on_hand => 9007199254740991"},
    {"create in partition 0 begins at P", NULL, "product_create idem:{0}:$H 0 $F D1 1", "0 256 1", NULL},
    {"create in the last partition", NULL, "product_create idem:{255}:$H 255 $F D1 1", "0 511 1", NULL},
    {"create counts on", "product_create idem:{5}:$I 5 $F D1 1", "product_create " IDEM "D1 1", "0 517 1", NULL},
    {"create steps over ids that clients chose", "product_put product:{5}:517 5 517 create '' D1 1 ; product_create idem:{5}:$I 5 $F D1 1 => 0 261 1",
     "product_create " IDEM "D2 1", "0 773 1", "HGET product:{5}:517 doc => D1"},
    {"create keeps its record for a day", NULL, "product_create " IDEM "D1 1", "0 261 1",
     "HGETALL idem:{5}:$H => fp $F s done id 261 v 1 doc D1 ; PTTL idem:{5}:$H => ~86400000"},
    {"create again says what it was", "product_create " IDEM "D1 7 ; product_put product:{5}:261 5 261 replace * D2 ''",
     "product_create " IDEM "D1 7", "14 261 1 D1", NULL},
    {"create with the key of another request", "product_create " IDEM "D1 7", "product_create idem:{5}:$H 5 $G D1 7", "12", NULL},
    {"create after the product is gone again", "product_create " IDEM "D1 7 ; product_delete product:{5}:261 5 261 *", "product_create " IDEM "D1 7",
     "14 261 1 D1", NULL},
    {"create with marks of a former product will look at them", "HSET holds:{5}:261 $T released|2|7|@-5000|@-5000", "product_create " IDEM "D1 1",
     "0 261 1", "HGET stock:{5}:261 ask => @+0 ; ZSCORE asks:{5} 261 => @+0"},
    {"create: partition too high", NULL, "product_create idem:{16384}:$H 16384 $F D1 1", "'-ERR souk: bad argument 1 of product_create'", NULL},
    {"create: fingerprint of 15 digits", NULL, "product_create idem:{5}:$H 5 f00df00df00df00 D1 1", "'-ERR souk: bad argument 2 of product_create'",
     NULL},
    {"create: fingerprint with another letter", NULL, "product_create idem:{5}:$H 5 f00df00df00df00g D1 1",
     "'-ERR souk: bad argument 2 of product_create'", NULL},
    {"create: stock negative", NULL, "product_create " IDEM "D1 -1", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock of 2^53", NULL, "product_create " IDEM "D1 9007199254740992", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock of 2^64", NULL, "product_create " IDEM "D1 18446744073709551616", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock empty", NULL, "product_create " IDEM "D1 ''", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock with a leading zero", NULL, "product_create " IDEM "D1 01", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock in hexadecimal", NULL, "product_create " IDEM "D1 0x10", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock with a point", NULL, "product_create " IDEM "D1 1.0", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock with an exponent", NULL, "product_create " IDEM "D1 1e3", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock with a space", NULL, "product_create " IDEM "D1 ' 1'", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: stock not a number", NULL, "product_create " IDEM "D1 nan", "'-ERR souk: bad argument 4 of product_create'", NULL},
    {"create: an argument missing", NULL, "product_create " IDEM "D1", "'-ERR souk: wrong number of arguments of product_create'", NULL},
    {"create: an argument too many", NULL, "product_create " IDEM "D1 1 1", "'-ERR souk: wrong number of arguments of product_create'", NULL},
    {"create: key of another partition", NULL, "product_create idem:{6}:$H 5 $F D1 1", "'-ERR souk: bad key of product_create'", NULL},
    {"create: key of another kind", NULL, "product_create order:{5}:$H 5 $F D1 1", "'-ERR souk: bad key of product_create'", NULL},
    {"create: hash too short", NULL, "product_create idem:{5}:0123 5 $F D1 1", "'-ERR souk: bad key of product_create'", NULL},
    {"create: two keys", NULL, "product_create keys=2 idem:{5}:$H idem:{5}:$H 5 $F D1 1", "'-ERR souk: bad key of product_create'", NULL},

    /* product_put */
    {"put creates", NULL, "product_put product:{5}:5 5 5 create '' D1 40", "0 1",
     "HGETALL product:{5}:5 => v 1 doc D1 ; HGETALL stock:{5}:5 => on_hand 40 held 0 committed 0 v 1 ; ZSCORE products:{5} 5 => 5 ; "
     "XLEN moves:{5}:5 => 1"},
    {"put creates the highest id", NULL, "product_put product:{255}:9007199254740991 255 9007199254740991 create '' D1 0", "0 1", NULL},
    {"put creates what is there", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 create '' D2 40", "11 3", NULL},
    {"put replaces this version", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 replace 3 D2 ''", "0 4",
     "HGETALL product:{5}:5 => v 4 doc D2 ; HGET stock:{5}:5 on_hand => 1"},
    {"put replaces any version", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 replace * D2 ''", "0 4", NULL},
    {"put replaces an older version", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 replace 2 D2 ''", "11 3", NULL},
    {"put replaces a version to come", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 replace 4 D2 ''", "11 3", NULL},
    {"put replaces nothing", NULL, "product_put product:{5}:5 5 5 replace * D2 ''", "10", NULL},
    {"put in order takes the sequence along", "product_put product:{5}:261 5 261 create '' D1 1", "product_put product:{5}:517 5 517 create '' D1 1",
     "0 1", "HGET seq:{5} product => 2 ; product_create " IDEM "D3 1 => 0 773 1"},
    {"put out of order does not", NULL, "product_put product:{5}:517 5 517 create '' D1 1", "0 1",
     "EXISTS seq:{5} => 0 ; product_create " IDEM "D3 1 => 0 261 1"},
    {"put below P does not", "product_create idem:{5}:$I 5 $F D1 1", "product_put product:{5}:5 5 5 create '' D1 1", "0 1",
     "HGET seq:{5} product => 1"},
    {"put creates again, with marks to look at",
     "product_put product:{5}:5 5 5 create '' D1 1 ; release stock:{5}:5 5 5 $T -1 '' ; product_delete product:{5}:5 5 5 *",
     "product_put product:{5}:5 5 5 create '' D2 2", "0 1",
     "HGET stock:{5}:5 ask => @+0 ; ZSCORE asks:{5} 5 => @+0 ; "
     "XLEN moves:{5}:5 => 2"},
    {"put: id 0", NULL, "product_put product:{5}:0 5 0 create '' D1 1", "'-ERR souk: bad argument 2 of product_put'", NULL},
    {"put: id of 2^53", NULL, "product_put product:{5}:9007199254740992 5 9007199254740992 create '' D1 1",
     "'-ERR souk: bad argument 2 of product_put'", NULL},
    {"put: unknown mode", NULL, "product_put product:{5}:5 5 5 upsert '' D1 1", "'-ERR souk: bad argument 3 of product_put'", NULL},
    {"put: creates without stock", NULL, "product_put product:{5}:5 5 5 create '' D1 ''", "'-ERR souk: bad argument 6 of product_put'", NULL},
    {"put: replaces without version", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 replace '' D1 ''",
     "'-ERR souk: bad argument 4 of product_put'", NULL},
    {"put: version not a number", PRODUCT("3") STOCK("1", "0", "0"), "product_put product:{5}:5 5 5 replace v3 D1 ''",
     "'-ERR souk: bad argument 4 of product_put'", NULL},
    {"put: key of another id", NULL, "product_put product:{5}:6 5 5 create '' D1 1", "'-ERR souk: bad key of product_put'", NULL},

    /* product_delete */
    {"delete this version",
     PRODUCT("3") STOCK("9", "0", "0") " ask @+5 ; ZADD asks:{5} 1 5 ; HSET holds:{5}:5 $T released|2|7|@-5|@-5 ; XADD moves:{5}:5 * k v",
     "product_delete product:{5}:5 5 5 3", "0",
     "EXISTS product:{5}:5 stock:{5}:5 products:{5} asks:{5} => 0 ; "
     "EXISTS holds:{5}:5 moves:{5}:5 => 2"},
    {"delete any version", PRODUCT("3") STOCK("9", "0", "0"), "product_delete product:{5}:5 5 5 *", "0", NULL},
    {"delete an older version", PRODUCT("3") STOCK("9", "0", "0"), "product_delete product:{5}:5 5 5 2", "11 3", NULL},
    {"delete nothing", NULL, "product_delete product:{5}:5 5 5 *", "10", NULL},
    {"delete while units are held", PRODUCT("3") STOCK("9", "1", "0"), "product_delete product:{5}:5 5 5 *", "23 1 0", NULL},
    {"delete while units are committed", PRODUCT("3") STOCK("9", "0", "1"), "product_delete product:{5}:5 5 5 *", "23 0 1", NULL},
    {"delete: version empty", PRODUCT("3") STOCK("9", "0", "0"), "product_delete product:{5}:5 5 5 ''",
     "'-ERR souk: bad argument 3 of product_delete'", NULL},

    /* stock_adjust */
    {"adjust up", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 delta 6 '' 'a delivery' r-1", "0 15 2 3 5",
     "HGETALL stock:{5}:5 => on_hand 15 held 2 committed 3 v 5 ; "
     "XRANGE moves:{5}:5 - + => * m adjust|6|||15|2|3|5|a delivery ; "
     "PTTL idem:{5}:$H => ~86400000"},
    {"adjust down to nothing available", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 delta -4 '' '' r-1", "0 5 2 3 5",
     "XRANGE moves:{5}:5 - + => * m adjust|-4|||5|2|3|5|"},
    {"adjust down too far", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 delta -5 '' '' r-1", "15 0 r-1 20 4", NULL},
    {"adjust by nothing", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 delta 0 '' '' r-1", "0 9 2 3 5", NULL},
    {"set up", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 set 10 '' '' r-1", "0 10 2 3 5", "XRANGE moves:{5}:5 - + => * m adjust|1|||10|2|3|5|"},
    {"set down to what is taken", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 set 5 9 '' r-1", "0 5 2 3 5", NULL},
    {"set below what is taken", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 set 4 9 '' r-1", "15 0 r-1 20 4", NULL},
    {"set below zero", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 set -1 '' '' r-1", "15 0 r-1 20 9", NULL},
    {"set to zero", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 set 0 '' '' r-1", "0 0 0 0 5", NULL},
    {"set to the most there can be", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 set 9007199254740991 '' '' r-1", "0 9007199254740991 0 0 5",
     "HGET stock:{5}:5 on_hand => 9007199254740991"},
    {"set expecting another", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 set 40 8 '' r-1", "15 0 r-1 24 9 2 3 4", NULL},
    {"adjust expecting another", STOCK("9", "2", "3"), "stock_adjust " IDEM "5 delta 1 10 '' r-1", "15 0 r-1 24 9 2 3 4", NULL},
    {"adjust nothing", NULL, "stock_adjust " IDEM "5 delta 1 '' '' r-1", "10", NULL},
    {"adjust again says what it was", STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 delta 6 '' '' r-1 ; stock_adjust idem:{5}:$I 5 $F 5 delta 1 '' '' r-1",
     "stock_adjust " IDEM "5 delta 6 '' '' r-1", "14 15 2 3 5", "HGET stock:{5}:5 on_hand => 16"},
    {"adjust with the key of another request", STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 delta 6 '' '' r-1",
     "stock_adjust idem:{5}:$H 5 $G 5 delta 7 '' '' r-1", "12", NULL},
    {"adjust that was refused stays refused: a late copy of it has no effect, and it is told what the first was",
     STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 delta -9 '' '' r-1 => 15 0 r-1 20 4 ; HSET stock:{5}:5 held 0 committed 0",
     "stock_adjust " IDEM "5 delta -9 '' '' r-2", "15 1 r-1 20 4",
     "HGETALL idem:{5}:$H => fp $F s refused answer 20|4 request r-1 ; PTTL idem:{5}:$H => ~86400000 ; "
     "HGET stock:{5}:5 on_hand => 9 ; stock_adjust idem:{5}:$I 5 $F 5 delta -9 '' '' r-3 => 0 0 0 0 5"},
    {"adjust that expected another stays refused", STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 set 40 8 '' r-1 ; HSET stock:{5}:5 on_hand 8",
     "stock_adjust " IDEM "5 set 40 8 '' r-2", "15 1 r-1 24 9 2 3 4", "HGET stock:{5}:5 on_hand => 8"},
    {"adjust that was refused, kept without the request's id",
     STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 delta -9 '' '' r-1 ; HDEL idem:{5}:$H request", "stock_adjust " IDEM "5 delta -9 '' '' r-2",
     "15 1 '' 20 4", NULL},
    {"adjust that was refused, a request id with a bar", STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 delta -9 '' '' a|b",
     "stock_adjust " IDEM "5 delta -9 '' '' r-2", "15 1 a|b 20 4", NULL},
    {"adjust: above what there can be", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 delta 9007199254740991 '' '' r-1",
     "'-ERR souk: bad argument 5 of stock_adjust'", NULL},
    {"adjust: unknown kind", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 add 1 '' '' r-1", "'-ERR souk: bad argument 4 of stock_adjust'", NULL},
    {"adjust: minus zero", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 delta -0 '' '' r-1", "'-ERR souk: bad argument 5 of stock_adjust'", NULL},
    {"adjust: two signs", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 delta --1 '' '' r-1", "'-ERR souk: bad argument 5 of stock_adjust'", NULL},
    {"adjust: plus sign", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 delta +1 '' '' r-1", "'-ERR souk: bad argument 5 of stock_adjust'", NULL},
    {"adjust: expected negative", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 delta 1 -9 '' r-1", "'-ERR souk: bad argument 6 of stock_adjust'", NULL},
};

int main(void)
{
    return LUA_RUN("catalogue", cases);
}
