// A client of awesome-im for the tests: connects to the URL in its first argument.
//
//   stdin, one JSON object a line: a message to send
//   stdout, one JSON object a line: {open: true}, {envelope: ...} or {closed: code}
'use strict';

const readline = require('readline');
const WebSocket = require('ws');
const { encode, decode } = require('@msgpack/msgpack');

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const socket = new WebSocket(process.argv[2]);

socket.on('open', () => write({ open: true }));
socket.on('message', (data) => write({ envelope: decode(data) }));
socket.on('close', (code) => write({ closed: code }));

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => socket.send(encode(JSON.parse(line))));
lines.on('close', () => process.exit(0));
