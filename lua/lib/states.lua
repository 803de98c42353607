-- The one table of allowed moves (DESIGN.md section 4). Functions, tests and documentation read it.

-- An order: cause → from → to.
states.order = {
    place = {[''] = 'reserved'},
    pay = {reserved = 'paid'},
    cancel = {reserved = 'cancelled', paid = 'cancelled'},
    expire = {reserved = 'expired'},
    fulfil = {paid = 'fulfilled'},
}
states.order_ended = {cancelled = true, expired = true, fulfilled = true}
-- Where a cause leads: there it is done already.
states.order_end_of = {pay = 'paid', cancel = 'cancelled', expire = 'expired', fulfil = 'fulfilled'}
-- With these payment_status the shop has money of the buyer.
states.order_captured = {paid = true, partially_refunded = true}

-- What must be done for an order in this state; its time is in txn:{p}.
states.duty = {reserved = 'expire', paid = 'confirm', fulfilled = 'consume', cancelled = 'release', expired = 'release'}

-- A payment: from → to. What is processing is a charge, an authorization, a capture or a void; its record's op says which.
states.payment = {
    [''] = {processing = true},
    processing = {succeeded = true, failed = true, unknown = true, authorized = true, voided = true, expired = true},
    unknown = {succeeded = true, failed = true, authorized = true, voided = true, expired = true},
    authorized = {processing = true},
    succeeded = {partially_refunded = true, refunded = true},
    partially_refunded = {partially_refunded = true, refunded = true},
}
states.payment_open = {processing = true, unknown = true, authorized = true}
states.payment_at_gateway = {processing = true, unknown = true} -- nobody but the gateway knows what becomes of it

-- One transaction's units of one product: from → to → the entry in moves, and what each unit does to the counters. No other way leads on:
-- a hold is resolved once.
states.hold = {
    [''] = {held = {kind = 'hold', units = {held = 1}}},
    held = {
        committed = {kind = 'commit', units = {held = -1, committed = 1}},
        released = {kind = 'release', units = {held = -1}},
        consumed = {kind = 'consume', units = {on_hand = -1, held = -1}},
    },
    committed = {
        restocked = {kind = 'restock', units = {committed = -1}},
        consumed = {kind = 'consume', units = {on_hand = -1, committed = -1}},
    },
}
states.hold_live = {held = true, committed = true}
