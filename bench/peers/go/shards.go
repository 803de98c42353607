package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/redis/rueidis"
)

// -1: one connection to each shard. rueidis would open four, and send fewer commands at once on each; one was the faster here.
const pipelineMultiplex = -1

// One rueidis client for each shard; rueidis pipelines what goroutines send at the same time.
type shards struct {
	byPartition [partitions]rueidis.Client
}

func (s *shards) of(id int64) rueidis.Client {
	return s.byPartition[id%partitions]
}

func connect(path string, cached bool, cacheMB int) (*shards, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	made := map[string]rueidis.Client{}
	all := &shards{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var partition int
		var port string
		if _, err := fmt.Sscan(lines.Text(), &partition, &port); err != nil {
			return nil, err
		}
		if made[port] == nil {
			made[port], err = rueidis.NewClient(rueidis.ClientOption{
				InitAddress:       []string{"127.0.0.1:" + port},
				ForceSingleClient: true,
				DisableCache:      !cached,
				CacheSizeEachConn: cacheMB << 20,
				AlwaysPipelining:  true,
				PipelineMultiplex: pipelineMultiplex,
			})
			if err != nil {
				return nil, err
			}
		}
		all.byPartition[partition] = made[port]
	}
	return all, nil
}
