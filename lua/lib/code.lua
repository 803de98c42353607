-- The codes of lua/README.md, in its order.

code.OK = 0
code.RING = 1
code.LATE = 2
code.NOT_FOUND = 10
code.STALE = 11
code.KEY_REUSED = 12
code.IN_FLIGHT = 13
code.REPLAY = 14
code.REFUSED = 15
code.ALREADY = 16
code.SHORT = 20
code.GONE = 21
code.ASK = 22
code.HELD = 23
code.UNEXPECTED = 24
code.ABSENT = 25
code.ILLEGAL = 26
code.PAYMENT_OPEN = 27
code.EXPIRED = 28
code.AMOUNT = 29
code.ABORTED = 30
