package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"github.com/twmb/murmur3"
	"github.com/vmihailenco/msgpack/v5"
)

// POST /orders by the protocol of DESIGN.md, section 7, and the same function library: TRY each product, PLACE; when one is short, REFUSE and RELEASE. Of the
// rest of it there is nothing here: whoever meets anything else answers 503, and the holds are settled later by Souk's own workers.

const (
	codeOK     = 0
	codeShort  = 20
	holdAskMs  = 10000
	callMs     = 30000
	ringEpoch  = "1"
	presetHold = 900
)

type orderItem struct {
	ProductID int64 `json:"product_id"`
	Quantity  int64 `json:"quantity"`
}

type orderBody struct {
	User        string      `json:"user"`
	Items       []orderItem `json:"items"`
	HoldSeconds int64       `json:"hold_seconds,omitempty"`
}

type productDoc struct {
	Name     string `msgpack:"name"`
	Price    int64  `msgpack:"price"`
	Currency string `msgpack:"currency"`
}

type orderLine struct {
	ProductID      int64  `msgpack:"product_id"`
	Name           string `msgpack:"name"`
	Quantity       int64  `msgpack:"quantity"`
	Price          int64  `msgpack:"price"`
	ProductVersion int64  `msgpack:"product_version"`
}

type orderDoc struct {
	Schema int64       `msgpack:"schema"`
	Lines  []orderLine `msgpack:"lines"`
}

// What one order is made of while it is placed.
type placing struct {
	server          *server
	ctx             context.Context
	body            orderBody
	partition       int64
	hash, fp, txn   string
	holdMs          int64
	requestID       string
	codes, versions []int64
	products        []productDoc
}

func part(out []byte, text string) []byte {
	out = strconv.AppendInt(out, int64(len(text)), 10)
	out = append(out, ':')
	return append(out, text...)
}

// The transaction's name, HASH.FP.attempt: hashes of caller, scope and key, and of the request as it was understood.
func (p *placing) makeName(key string) error {
	scope := "POST /orders " + p.body.User
	high, low := murmur3.Sum128(part(part(part(nil, ""), scope), key))
	request, err := json.Marshal(&p.body)
	if err != nil {
		return err
	}
	high2, _ := murmur3.SeedSum128(1, 1, part(part(nil, scope), string(request)))
	p.hash = fmt.Sprintf("%016x%016x", high, low)
	p.fp = fmt.Sprintf("%016x", high2)
	p.txn = p.hash + "." + p.fp + ".1"
	p.partition = int64(murmur3.StringSum32(p.body.User) % partitions)
	return nil
}

func text(number int64) string {
	return strconv.FormatInt(number, 10)
}

// A writing function's call: behind its arguments stand the ring's epoch and the latest time at which it may act.
func (p *placing) call(function string, partition int64, key string, args ...string) ([]rueidis.RedisMessage, error) {
	shard := p.server.shards.byPartition[partition]
	command := shard.B().Fcall().Function(function+"_"+p.server.hash).Numkeys(1).Key(key).Arg(args...).
		Arg(ringEpoch, text(time.Now().UnixMilli()+callMs)).Build()
	return shard.Do(p.ctx, command).ToArray()
}

func (p *placing) stockCall(function string, item int, args ...string) ([]rueidis.RedisMessage, error) {
	id := p.body.Items[item].ProductID
	partition := id % partitions
	key := fmt.Sprintf("stock:{%d}:%d", partition, id)
	return p.call(function, partition, key, append([]string{text(partition), text(id), p.txn}, args...)...)
}

func (p *placing) orderCall(function string, args ...string) ([]rueidis.RedisMessage, error) {
	key := fmt.Sprintf("idem:{%d}:%s", p.partition, p.hash)
	return p.call(function, p.partition, key, append([]string{text(p.partition), p.fp, "1"}, args...)...)
}

func (p *placing) try(item int) error {
	ask := min(p.holdMs, holdAskMs)
	reply, err := p.stockCall("try", item, text(p.body.Items[item].Quantity), text(p.partition), text(ask), "0")
	if err != nil {
		return err
	}
	if p.codes[item], err = reply[0].AsInt64(); err != nil || p.codes[item] != codeOK {
		return err
	}
	if p.versions[item], err = reply[2].AsInt64(); err != nil {
		return err
	}
	doc, err := reply[3].AsBytes()
	if err != nil {
		return err
	}
	return msgpack.Unmarshal(doc, &p.products[item])
}

// All at once, as a flow of Souk's sends them.
func (p *placing) onEach(do func(item int) error) error {
	results := make(chan error, len(p.body.Items))
	for item := 1; item < len(p.body.Items); item++ {
		go func() { results <- do(item) }()
	}
	err := do(0)
	for item := 1; item < len(p.body.Items); item++ {
		err = errors.Join(err, <-results)
	}
	return err
}

func (p *placing) release(item int) error {
	if p.codes[item] != codeOK {
		return nil
	}
	_, err := p.stockCall("release", item, "-1", "")
	return err
}

func (p *placing) refuse(w http.ResponseWriter) error {
	body := []byte(fmt.Sprintf(`{"type":"about:blank","title":"Too few units","status":409,"code":"insufficient_stock","retryable":false,"request_id":"%s"}`, p.requestID))
	if _, err := p.orderCall("refuse", "409", string(body)); err != nil {
		return err
	}
	if err := p.onEach(p.release); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusConflict)
	_, err := w.Write(body)
	return err
}

type answerLine struct {
	ProductID int64   `json:"product_id"`
	Name      string  `json:"name"`
	Quantity  int64   `json:"quantity"`
	Price     float64 `json:"price"`
	Amount    float64 `json:"amount"`
}

type answerOrder struct {
	ID            int64        `json:"id"`
	User          string       `json:"user"`
	State         string       `json:"state"`
	PaymentStatus string       `json:"payment_status"`
	Total         float64      `json:"total"`
	Currency      string       `json:"currency"`
	Version       int64        `json:"version"`
	Lines         []answerLine `json:"lines"`
	CreatedAt     string       `json:"created_at"`
	UpdatedAt     string       `json:"updated_at"`
	ExpiresAt     string       `json:"expires_at"`
}

func when(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func (p *placing) answer(w http.ResponseWriter, total, id, created, expires int64) error {
	order := answerOrder{ID: id, User: p.body.User, State: "reserved", PaymentStatus: "none", Total: float64(total) / 100,
		Currency: p.products[0].Currency, Version: 1, CreatedAt: when(created), UpdatedAt: when(created), ExpiresAt: when(expires)}
	for i, item := range p.body.Items {
		price := p.products[i].Price
		order.Lines = append(order.Lines, answerLine{item.ProductID, p.products[i].Name, item.Quantity, float64(price) / 100, float64(price*item.Quantity) / 100})
	}
	body, err := json.Marshal(&order)
	if err != nil {
		return err
	}
	for _, h := range p.server.headers {
		w.Header()[h.name] = []string{h.value}
	}
	w.Header().Set("Location", "/orders/"+text(id))
	w.Header().Set("Etag", `"v1"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(body)
	return err
}

func (p *placing) place(w http.ResponseWriter) error {
	doc := orderDoc{Schema: 1}
	total := int64(0)
	for i, item := range p.body.Items {
		total += p.products[i].Price * item.Quantity
		doc.Lines = append(doc.Lines, orderLine{item.ProductID, p.products[i].Name, item.Quantity, p.products[i].Price, p.versions[i]})
	}
	bytes, err := msgpack.Marshal(&doc)
	if err != nil {
		return err
	}
	reply, err := p.orderCall("place", p.txn, p.body.User, text(total), p.products[0].Currency, text(p.holdMs), string(bytes), p.requestID)
	if err != nil {
		return err
	}
	numbers := [4]int64{}
	for i := range numbers {
		if numbers[i], err = reply[i].AsInt64(); err != nil {
			return err
		}
	}
	if numbers[0] != codeOK {
		return fmt.Errorf("place answered %d", numbers[0])
	}
	return p.answer(w, total, numbers[1], numbers[2], numbers[3])
}

func (p *placing) run(w http.ResponseWriter, key string) error {
	if err := p.makeName(key); err != nil {
		return err
	}
	if err := p.onEach(p.try); err != nil {
		return err
	}
	short := false
	for _, code := range p.codes {
		if code != codeOK && code != codeShort {
			return fmt.Errorf("try answered %d", code)
		}
		short = short || code == codeShort
	}
	if short {
		return p.refuse(w)
	}
	return p.place(w)
}

func (s *server) order(w http.ResponseWriter, r *http.Request) {
	p := &placing{server: s, ctx: r.Context(), requestID: fmt.Sprintf("%016x", time.Now().UnixNano())}
	key := r.Header.Get("Idempotency-Key")
	if err := json.NewDecoder(r.Body).Decode(&p.body); err != nil || key == "" || len(p.body.Items) == 0 {
		http.Error(w, "not an order", http.StatusBadRequest)
		return
	}
	if p.holdMs = p.body.HoldSeconds * 1000; p.holdMs == 0 {
		p.holdMs = presetHold * 1000
	}
	p.codes, p.versions = make([]int64, len(p.body.Items)), make([]int64, len(p.body.Items))
	p.products = make([]productDoc, len(p.body.Items))
	if err := p.run(w, key); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
