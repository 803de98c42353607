// souk-bench-go: what Souk does, as one would write it in Go with net/http and rueidis.
//
//	souk-bench-go -mode static|map|redis|cache|orders -port PORT -answer FILE [-bodies FILE] [-shards FILE] [-hash HASH] [-cache-mb MB]
//
// FILE of -answer is Souk's answer as `curl -i` prints it: its headers are sent, and in static its body. -bodies: id and JSON of a product in each line,
// with a tab between them. -shards: a partition and the port of its shard in each line. -hash: of the function library.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const partitions = 256

type header struct{ name, value string }

type server struct {
	headers []header
	body    []byte
	bodies  map[int64][]byte
	shards  *shards
	hash    string
}

// Reads Souk's answer. What net/http writes itself is left out, and so is the ETag, which is the product's.
func (s *server) readAnswer(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, body, _ := strings.Cut(string(text), "\r\n\r\n")
	s.body = []byte(body)
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		switch strings.ToLower(name) {
		case "date", "content-length", "connection", "etag":
		default:
			s.headers = append(s.headers, header{http.CanonicalHeaderKey(name), value})
		}
	}
	return nil
}

func (s *server) readBodies(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s.bodies = map[int64][]byte{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		id, body, _ := strings.Cut(lines.Text(), "\t")
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return err
		}
		s.bodies[number] = []byte(body)
	}
	return nil
}

func (s *server) answer(w http.ResponseWriter, version string, body []byte) {
	to := w.Header()
	for _, h := range s.headers {
		to[h.name] = []string{h.value}
	}
	to["Etag"] = []string{`"v` + version + `"`}
	to["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Write(body)
}

func (s *server) static(w http.ResponseWriter, r *http.Request) {
	s.answer(w, "1", s.body)
}

func product(r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/products/"), 10, 64)
	return id, err == nil
}

func (s *server) fromMap(w http.ResponseWriter, r *http.Request) {
	id, good := product(r)
	if body, found := s.bodies[id]; good && found {
		s.answer(w, "1", body)
	} else {
		http.NotFound(w, r)
	}
}

// The ready JSON and its version by HMGET: the same call as Souk's, and less work with its answer.
func (s *server) fromRedis(cached bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, good := product(r)
		if !good {
			http.NotFound(w, r)
			return
		}
		shard := s.shards.of(id)
		command := shard.B().Hmget().Key(fmt.Sprintf("bench:{%d}:%d", id%partitions, id)).Field("v", "json")
		var result rueidis.RedisResult
		if cached {
			result = shard.DoCache(r.Context(), command.Cache(), time.Minute)
		} else {
			result = shard.Do(r.Context(), command.Build())
		}
		record, err := result.AsStrSlice()
		if err != nil || record[1] == "" {
			http.Error(w, "not there", http.StatusServiceUnavailable)
			return
		}
		s.answer(w, record[0], []byte(record[1]))
	}
}

func (s *server) handler(mode string) (http.Handler, error) {
	mux := http.NewServeMux()
	switch mode {
	case "static":
		mux.HandleFunc("/products/", s.static)
	case "map":
		mux.HandleFunc("/products/", s.fromMap)
	case "redis", "cache":
		mux.HandleFunc("/products/", s.fromRedis(mode == "cache"))
	case "orders":
		mux.HandleFunc("POST /orders", s.order)
	default:
		return nil, fmt.Errorf("there is no mode %q", mode)
	}
	return mux, nil
}

func run() error {
	mode := flag.String("mode", "static", "")
	port := flag.Int("port", 0, "")
	answer := flag.String("answer", "", "")
	bodies := flag.String("bodies", "", "")
	shardFile := flag.String("shards", "", "")
	hash := flag.String("hash", "", "")
	cacheMB := flag.Int("cache-mb", 64, "")
	flag.Parse()
	s := &server{hash: *hash}
	if err := s.readAnswer(*answer); err != nil {
		return err
	}
	if *mode == "map" {
		if err := s.readBodies(*bodies); err != nil {
			return err
		}
	}
	if *shardFile != "" {
		var err error
		if s.shards, err = connect(*shardFile, *mode == "cache", *cacheMB); err != nil {
			return err
		}
	}
	handler, err := s.handler(*mode)
	if err != nil {
		return err
	}
	return http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *port), handler)
}

func main() {
	if err := run(); err != nil {
		log.Fatal("souk-bench-go: ", err)
	}
}
