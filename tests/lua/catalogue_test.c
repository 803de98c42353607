#include "lua_test_lib.h"

/* A product 5 in partition 5 with a version and some stock, as the functions leave it. */
#define PRODUCT(v) "HSET product:{5}:5 v " v " doc D1 ; ZADD products:{5} 5 5 ; "
#define STOCK(on_hand, held, committed) "HSET stock:{5}:5 on_hand " on_hand " held " held " committed " committed " v 4"
#define IDEM "idem:{5}:$H 5 $F "
/* A product that was there with versions 1 to 3, its stock with 1 and 2, and is no more. */
#define FORMER(id) \
    "product_put product:{5}:" id " 5 " id " create '' D1 1 ; product_put product:{5}:" id " 5 " id " replace 1 D2 '' ; " \
    "product_put product:{5}:" id " 5 " id " replace 2 D3 '' ; stock_adjust idem:{5}:$J 5 $F " id " delta 3 '' '' r-0 ; " \
    "product_delete product:{5}:" id " 5 " id " 3"
/* The same, and made again. */
#define AGAIN FORMER("5") " ; product_put product:{5}:5 5 5 create '' D4 7 => 0 4"
/* One that was deleted 5 s ago. */
#define DELETED "HSET stock:{5}:5 deleted 3|4|@-5000"

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
    {"create with marks of a former product will look at them", "HSET stock:{5}:261 $T released|2|7|@-5000|@-5000", "product_create " IDEM "D1 1",
     "0 261 1", "HGET stock:{5}:261 ask => @+0 ; ZSCORE asks:{5} 261 => @+0"},
    {"create under an id that had a product goes on behind its versions", FORMER("517") " ; product_create idem:{5}:$I 5 $F D3 1 => 0 261 1",
     "product_create " IDEM "D4 7", "0 517 4",
     "HGETALL product:{5}:517 => v 4 doc D4 ; HGETALL stock:{5}:517 => on_hand 7 held 0 committed 0 v 3 ask @+0 ; HGET idem:{5}:$H v => 4 ; "
     "XREVRANGE moves:{5}:517 + - COUNT 1 => * m create|7|||7|0|0|3|"},
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
     "product_put product:{5}:5 5 5 create '' D2 2", "0 2",
     "HGET stock:{5}:5 ask => @+0 ; ZSCORE asks:{5} 5 => @+0 ; "
     "XLEN moves:{5}:5 => 2"},
    {"put creates again, and goes on behind the versions of before", FORMER("5"), "product_put product:{5}:5 5 5 create '' D4 7", "0 4",
     "HGETALL product:{5}:5 => v 4 doc D4 ; HGETALL stock:{5}:5 => on_hand 7 held 0 committed 0 v 3 ask @+0 ; "
     "XREVRANGE moves:{5}:5 + - COUNT 1 => * m create|7|||7|0|0|3| ; product_delete product:{5}:5 5 5 4 => 0 ; "
     "product_put product:{5}:5 5 5 create '' D5 1 => 0 5 ; HGET stock:{5}:5 v => 4"},
    {"put that comes late, when the product was made again", AGAIN, "product_put product:{5}:5 5 5 replace 1 D9 ''", "11 4", NULL},
    {"put that was sent before the product was deleted does not create it again", DELETED,
     "product_put limit=@+23000 product:{5}:5 5 5 create '' D1 1", "2", NULL},
    {"put that was sent as the product was deleted, by a clock that is a little behind", DELETED,
     "product_put limit=@+24500 product:{5}:5 5 5 create '' D1 1", "0 4", NULL},
    {"put that was sent after the product was deleted", DELETED, "product_put limit=@+26000 product:{5}:5 5 5 create '' D1 1", "0 4",
     "HGETALL stock:{5}:5 => on_hand 1 held 0 committed 0 v 5 ask @+0"},
    {"put, and the product was deleted by a clock that was set back since", "HSET stock:{5}:5 deleted 3|4|@+60000",
     "product_put limit=@+20000 product:{5}:5 5 5 create '' D1 1", "0 4", NULL},
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

    /* import_begin, import */
    {"import begins", NULL, "import_begin " IDEM, "0", "HGETALL idem:{5}:$H => fp $F s open ; PTTL idem:{5}:$H => ~86400000"},
    {"import begins again", "import_begin " IDEM, "import_begin " IDEM, "0", NULL},
    {"import begins with the key of another", "import_begin " IDEM, "import_begin idem:{5}:$H 5 $G", "12", NULL},
    {"import creates under these ids", NULL, "import " IDEM "5 D1 40 261 D2 ''", "0 5,1|261,1",
     "HGETALL product:{5}:5 => v 1 doc D1 ; HGETALL stock:{5}:5 => on_hand 40 held 0 committed 0 v 1 ; HGETALL product:{5}:261 => v 1 doc D2 ; "
     "HGETALL stock:{5}:261 => on_hand 0 held 0 committed 0 v 1 ; XRANGE moves:{5}:5 - + => * m create|40|||40|0|0|1| ; XLEN moves:{5}:261 => 1 ; "
     "ZRANGE products:{5} 0 -1 WITHSCORES => 5 5 261 261 ; EXISTS asks:{5} => 0 ; HGET seq:{5} product => 1 ; "
     "HGETALL idem:{5}:$H => fp $F s done results 5,1|261,1 ; PTTL idem:{5}:$H => ~86400000"},
    {"import replaces", PRODUCT("3") STOCK("9", "2", "1"), "import " IDEM "5 D2 ''", "0 5,4",
     "HGETALL product:{5}:5 => v 4 doc D2 ; HGET stock:{5}:5 on_hand => 9"},
    {"import leaves alone what came with a stock and has one", PRODUCT("3") STOCK("9", "2", "1"), "import " IDEM "5 D2 9 261 D2 7", "0 5,0|261,1",
     "HGETALL product:{5}:5 => v 3 doc D1 ; HGETALL stock:{5}:5 => on_hand 9 held 2 committed 1 v 4 ; HGET stock:{5}:261 on_hand => 7 ; EXISTS "
     "moves:{5}:5 => 0"},
    {"import numbers new ones", NULL, "import " IDEM "'' D1 4 '' D2 ''", "0 261,1|517,1",
     "HGET product:{5}:517 doc => D2 ; HGET stock:{5}:261 on_hand => 4 ; HGET seq:{5} product => 2 ; ZCARD products:{5} => 2"},
    {"import numbers around ids of clients, in the same call and before", "product_put product:{5}:773 5 773 create '' D0 1",
     "import " IDEM "'' D1 '' 517 D2 '' '' D3 ''", "0 261,1|517,1|1029,1", "HGET seq:{5} product => 4 ; HGET product:{5}:773 doc => D0"},
    {"import in partition 0", NULL, "import idem:{0}:$H 0 $F '' D1 1", "0 256,1", NULL},
    {"import with marks of a former product will look at them", "HSET stock:{5}:261 $T released|2|7|@-5000|@-5000", "import " IDEM "5 D1 1 261 D1 1",
     "0 5,1|261,1", "HGET stock:{5}:261 ask => @+0 ; ZSCORE asks:{5} 261 => @+0 ; HEXISTS stock:{5}:5 ask => 0"},
    {"import creates again, and goes on behind the versions of before", FORMER("5"), "import " IDEM "5 D4 7 261 D1 1", "0 5,+4|261,1",
     "HGETALL product:{5}:5 => v 4 doc D4 ; HGETALL stock:{5}:5 => on_hand 7 held 0 committed 0 v 3 ask @+0 ; ZSCORE products:{5} 5 => 5 ; "
     "import " IDEM "5 D4 7 261 D1 1 => 14 5,+4|261,1"},
    {"import again says what it was, and does nothing", "import " IDEM "5 D1 1 '' D2 '' ; product_put product:{5}:5 5 5 replace * D9 ''",
     "import " IDEM "5 D1 1 '' D2 ''", "14 5,1|261,1", "HGET product:{5}:5 doc => D9 ; ZCARD products:{5} => 2"},
    {"import with the key of another", "import " IDEM "5 D1 1", "import idem:{5}:$H 5 $G 5 D1 2", "12", NULL},
    {"import: an id twice", NULL, "import " IDEM "5 D1 1 261 D1 1 5 D2 ''", "'-ERR souk: an id twice in import'", NULL},
    {"import: nothing", NULL, "import " IDEM, "'-ERR souk: wrong number of arguments of import'", NULL},
    {"import: a product and a half", NULL, "import " IDEM "5 D1 1 261 D2", "'-ERR souk: wrong number of arguments of import'", NULL},
    {"import: second id not a number", NULL, "import " IDEM "5 D1 1 x D2 1", "'-ERR souk: bad argument 6 of import'", NULL},
    {"import: second stock negative", NULL, "import " IDEM "5 D1 1 261 D2 -1", "'-ERR souk: bad argument 8 of import'", NULL},
    {"import: key of another partition", NULL, "import idem:{6}:$H 5 $F 5 D1 1", "'-ERR souk: bad key of import'", NULL},

    /* product_replace */
    {"replace many", PRODUCT("3") "HSET product:{5}:261 v 7 doc D1", "product_replace products:{5} 5 5 3 D2 261 7 D3", "0 4 8",
     "HGETALL product:{5}:5 => v 4 doc D2 ; HGETALL product:{5}:261 => v 8 doc D3"},
    {"replace what has another version, or is not there", PRODUCT("3") "HSET product:{5}:261 v 7 doc D1",
     "product_replace products:{5} 5 5 2 D2 517 1 D2 261 7 D3", "0 '' '' 8", "HGETALL product:{5}:5 => v 3 doc D1 ; EXISTS product:{5}:517 => 0"},
    {"replace that comes late, when the product was made again", AGAIN, "product_replace products:{5} 5 5 1 D9", "0 ''",
     "HGETALL product:{5}:5 => v 4 doc D4"},
    {"replace: an id twice", PRODUCT("3"), "product_replace products:{5} 5 5 3 D2 5 3 D3", "'-ERR souk: an id twice in product_replace'", NULL},
    {"replace: nothing", PRODUCT("3"), "product_replace products:{5} 5", "'-ERR souk: wrong number of arguments of product_replace'", NULL},
    {"replace: any version", PRODUCT("3"), "product_replace products:{5} 5 5 * D2", "'-ERR souk: bad argument 3 of product_replace'", NULL},
    {"replace: key of another partition", PRODUCT("3"), "product_replace products:{6} 5 5 3 D2", "'-ERR souk: bad key of product_replace'", NULL},

    /* product_delete */
    {"delete this version",
     PRODUCT("3") STOCK("9", "0", "0") " ask @+5 ; ZADD asks:{5} 1 5 ; HSET stock:{5}:5 $T released|2|7|@-5|@-5 ; XADD moves:{5}:5 * k v",
     "product_delete product:{5}:5 5 5 3", "0",
     "EXISTS product:{5}:5 products:{5} asks:{5} => 0 ; HGETALL stock:{5}:5 => $T released|2|7|@-5|@-5 deleted 3|4|@+0 ; EXISTS moves:{5}:5 => 1"},
    {"delete what has no marks", PRODUCT("3") STOCK("9", "0", "0"), "product_delete product:{5}:5 5 5 3", "0",
     "HGETALL stock:{5}:5 => deleted 3|4|@+0"},
    {"delete any version", PRODUCT("3") STOCK("9", "0", "0"), "product_delete product:{5}:5 5 5 *", "0", NULL},
    {"delete an older version", PRODUCT("3") STOCK("9", "0", "0"), "product_delete product:{5}:5 5 5 2", "11 3", NULL},
    {"delete that comes late, when the product was made again", AGAIN, "product_delete product:{5}:5 5 5 1", "11 4", "HGET stock:{5}:5 on_hand => 7"},
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
    {"adjust nothing", NULL, "stock_adjust " IDEM "5 delta 1 '' '' r-1", "15 0 r-1 10", NULL},
    {"adjust nothing: a late copy finds what was made meanwhile, and is refused all the same",
     "stock_adjust " IDEM "5 delta 1 '' '' r-1 => 15 0 r-1 10 ; " STOCK("9", "2", "3"), "stock_adjust " IDEM "5 delta 1 '' '' r-2", "15 1 r-1 10",
     "HGET stock:{5}:5 on_hand => 9"},
    {"adjust again says what it was",
     STOCK("9", "2", "3") " ; stock_adjust " IDEM "5 delta 6 '' '' r-1 ; stock_adjust idem:{5}:$I 5 $F 5 delta 1 '' '' r-1",
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
    {"adjust: expected negative", STOCK("9", "0", "0"), "stock_adjust " IDEM "5 delta 1 -9 '' r-1", "'-ERR souk: bad argument 6 of stock_adjust'",
     NULL},
};

int main(void)
{
    return LUA_RUN("catalogue", cases);
}
