// Lets a test drive the second version of the npm SDK, whose methods take callbacks: commands on
// stdin, replies and events on stdout, one JSON object a line. v2_peer.py is the other side.
//
//   {id, op: "open", options}                a realtime object; replies when it is open
//   {id, op: "room", args}                   a room, by its id or by options
//   {id, op: "call", target, method, args}   call a method; replies with what its callback gets
//   {id, op: "tell", target, method, args}   call a method that has no callback
//   {id, op: "follow", target, method}       report all that a room's callback gets, as events
//   {id, op: "drop"}                         break the socket without a goodbye
//
//   {id, ok: value} or {id, error: text}, and {event, data}
'use strict';

const Module = require('module');
const readline = require('readline');

// Its WebSocket package takes whatever native helper npm has put in its reach, also one that is
// years too new; without any it uses its own.
const load = Module._load;
Module._load = function loadButNative(name, ...rest) {
  if (['bufferutil', 'utf-8-validate'].includes(name)) throw new Error(`${name} is left out`);
  return load.call(this, name, ...rest);
};

const realtime = require('realtime-v2');

const EVENTS = [
  'open', 'close', 'reuse', 'create', 'invited', 'kicked', 'membersjoined', 'membersleft',
  'message', 'receipt', 'update', 'error',
];

const targets = new Map();

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function keep(object) {
  targets.set(targets.size + 1, object);
  return targets.size;
}

function shown(room) {
  return { target: keep(room), id: room.id, name: room.name, attr: room.attr };
}

const operations = {
  open({ options }, done) {
    const rt = realtime(options);
    EVENTS.forEach((event) => {
      rt.on(event, (data) => write({ event, data: event === 'close' ? null : data }));
    });
    rt.once('open', () => done({ target: keep(rt), clientId: rt.clientId }));
  },
  room({ target, args }, done) {
    const rt = targets.get(target);
    const room = rt.room(...args, (found) => done(shown(found || room)));
  },
  call({ target, method, args }, done) {
    targets.get(target)[method](...args, (data) => done(data === undefined ? null : data));
  },
  tell({ target, method, args }, done) {
    targets.get(target)[method](...args);
    done(null);
  },
  follow({ target, method }, done) {
    const room = targets.get(target);
    room[method]((data) => write({ event: `${method} ${room.id}`, data }));
    done(null);
  },
  drop({ target }, done) {
    targets.get(target).cache.ws.terminate();
    done(null);
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  try {
    operations[command.op](command, (value) => write({ id: command.id, ok: value }));
  } catch (error) {
    write({ id: command.id, error: String(error) });
  }
});
lines.on('close', () => process.exit(0));

// The SDK throws what the server refuses, out of the socket's own callback.
process.on('uncaughtException', (error) => write({ event: 'thrown', data: String(error) }));
