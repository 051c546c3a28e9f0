// A server of awesome-im for the tests, which does what the sample of its page does: returns
// every message to all, with the time. Port 0 chooses one; the first line says which.
//
//   stdin, one JSON object a line: {push: data} is sent to all by itself
'use strict';

const readline = require('readline');
const WebSocket = require('ws');
const { encode, decode } = require('@msgpack/msgpack');

const server = new WebSocket.Server({ port: Number(process.argv[2] || 0) }, () => {
  process.stdout.write(`${server.address().port}\n`);
});

function toAll(envelope) {
  server.clients.forEach((client) => {
    if (client.readyState === WebSocket.OPEN) client.send(encode(envelope));
  });
}

server.on('connection', (socket) => {
  socket.on('message', (message) => {
    toAll({ code: 0, data: { ...decode(message), time: new Date().getTime() } });
  });
  socket.on('close', () => toAll({ errMsg: 'close', code: 4 }));
});

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  toAll({ code: 0, data: { ...JSON.parse(line).push, sentTime: Date.now() }, errMsg: 'success!' });
});
lines.on('close', () => process.exit(0));
