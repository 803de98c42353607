-- The names of keys, from the partition and the id as text. The partition in braces is the hash tag: all keys of one call carry the same one, but for
-- the calls that lua/README.md names.

key.SHARD = 'souk:shard'

function key.product(p, id) return 'product:{' .. p .. '}:' .. id end
function key.stock(p, id) return 'stock:{' .. p .. '}:' .. id end
function key.moves(p, id) return 'moves:{' .. p .. '}:' .. id end
function key.order(p, id) return 'order:{' .. p .. '}:' .. id end
function key.payment(p, id) return 'payment:{' .. p .. '}:' .. id end

function key.sequences(p) return 'seq:{' .. p .. '}' end
function key.idem(p, hash) return 'idem:{' .. p .. '}:' .. hash end
function key.events(p) return 'events:{' .. p .. '}' end

function key.products(p) return 'products:{' .. p .. '}' end
function key.asks(p) return 'asks:{' .. p .. '}' end
function key.orders(p) return 'orders:{' .. p .. '}' end
function key.orders_of_user(p, user) return 'orders:{' .. p .. '}:user:' .. user end
function key.orders_in(p, state, payment_status) return 'orders:{' .. p .. '}:in:' .. state .. ':' .. payment_status end
function key.payments(p) return 'payments:{' .. p .. '}' end
function key.payments_of_user(p, user) return 'payments:{' .. p .. '}:user:' .. user end
function key.payments_in(p, status) return 'payments:{' .. p .. '}:in:' .. status end
function key.refund_due(p) return 'payments:{' .. p .. '}:refund_due' end

-- Duties: what must still be done, by the time when it is due.
function key.order_duties(p) return 'txn:{' .. p .. '}' end
function key.payment_duties(p) return 'txn:{' .. p .. '}:pay' end

function key.lease(kind) return 'souk:lease:' .. kind end
