-- The names that every fragment and every function may use. Joined first; each fragment fills the table that has its name, so the order of
-- the fragments does not matter and all of them together cost the few locals below.

local arguments = {} -- what a function takes, checked before anything else
local clock = {}     -- this shard's time
local code = {}      -- the small integer at the head of an answer
local events = {}    -- the feed of what happened to orders
local guard = {}     -- the first step of every writing function
local holds = {}     -- one transaction's units of one product
local idem = {}      -- what an Idempotency-Key was decided to be
local index = {}     -- the sorted sets beside the records
local int = {}       -- numbers as text
local key = {}       -- the names of keys
local merge = {}     -- many sorted sources read as one
local orders = {}    -- an order's record and its moves
local payments = {}  -- a payment's record and its moves
local products = {}  -- a product's record, made and found
local states = {}    -- the allowed moves
local stock = {}     -- the counters of one product and their ledger

-- While Redis loads a library there are no globals but redis.register_function: no string, math, tonumber, and no redis.call. A fragment that
-- wants a short name for a string function takes it from a text, local find = ('').find, and everything else at its use.
-- call looks redis.call up at its first use and is redis.call itself from then on.
local call
call = function(...)
    call = redis.call
    return call(...)
end
