'use strict';
// GET /products/{id} as Node does it: node:http and ioredis with auto-pipelining, one connection to each shard. The ready JSON and its version come by HMGET.
//   node server.js PORT ANSWER SHARDS
// ANSWER: what `curl -i` printed of Souk's answer, whose headers are sent. SHARDS: a partition and the port of its shard in each line.
const fs = require('node:fs');
const http = require('node:http');
const Redis = require('ioredis');

const PARTITIONS = 256;
const OF_NODE = new Set(['date', 'content-length', 'connection', 'etag', 'keep-alive']);
const [port, answer, shards] = process.argv.slice(2);

function readHeaders(text) {
    return text.split('\r\n\r\n')[0].split('\r\n').slice(1).map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
        .filter(([name]) => !OF_NODE.has(name.toLowerCase()));
}

function connect(text) {
    const clients = new Map();
    return text.trim().split('\n').map((line) => line.split(' ')[1]).map((of) => {
        if (!clients.has(of))
            clients.set(of, new Redis(Number(of), '127.0.0.1', {enableAutoPipelining: true}));
        return clients.get(of);
    });
}

const headers = readHeaders(fs.readFileSync(answer, 'latin1'));
const clients = connect(fs.readFileSync(shards, 'latin1'));

const server = http.createServer((request, response) => {
    const id = Number(request.url.slice('/products/'.length));
    const partition = id % PARTITIONS;
    clients[partition].hmget(`bench:{${partition}}:${id}`, 'v', 'json').then(([version, json]) => {
        for (const [name, value] of headers)
            response.setHeader(name, value);
        response.setHeader('ETag', `"v${version}"`);
        response.setHeader('Content-Length', Buffer.byteLength(json));
        response.end(json);
    }, () => response.writeHead(503).end());
});
server.keepAliveTimeout = 600000;
server.listen({port: Number(port), host: '127.0.0.1', backlog: 4096});
