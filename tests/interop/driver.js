// Lets a test drive the npm SDK: commands on stdin, replies and events on stdout, one JSON
// object a line. js_peer.py is the other side.
//
//   {id, op: "new",  class, args}            construct; classes of the SDK, its plugin, AV
//   {id, op: "call", target, method, args}   call, and await, a method; with listen: true
//                                            also listen to what it returns, at once
//   {id, op: "get",  target, name}           read a property
//   {id, op: "set",  target, name, value}    write one
//   {id, op: "listen", target}               report every event of an emitter from now on
//   {id, op: "drop"}                         break all sockets without a goodbye
//
//   {id, ok: value} or {id, error: value}, and {event, source, args}
//
// A target is the number of an object, or the name of a class. Objects that are not plain
// data stay here and travel as {$ref: number, class, fields}; dates, bytes and errors as
// {$date}, {$bytes} and {$error}; {$js: source} becomes what the source evaluates to.
'use strict';

const readline = require('readline');
// Another version of the SDK by the name of its package; the plugin goes with the newest only.
const sdk = require(process.env.REALTIME_SDK || 'leancloud-realtime');
const AV = require('leancloud-storage');
const typedMessages = process.env.REALTIME_SDK
  ? {}
  : require('leancloud-realtime-plugin-typed-messages')(AV, sdk);

const classes = { ...sdk, ...typedMessages, AV, File: AV.File, GeoPoint: AV.GeoPoint };

// stdout belongs to the replies.
console.log = console.error;
console.info = console.error;

// Objects that stay here.

const objects = new Map();
const handles = new WeakMap();
let lastHandle = 0;

function handleOf(object) {
  let handle = handles.get(object);
  if (handle === undefined) {
    lastHandle += 1;
    handle = lastHandle;
    handles.set(object, handle);
    objects.set(handle, object);
  }
  return handle;
}

function resolve(target) {
  const object = typeof target === 'number' ? objects.get(target) : classes[target];
  if (object === undefined) throw new Error(`driver: there is no ${target}`);
  return object;
}

// Sockets, so that they can be broken: the SDK lets a program bring its own class.

const sockets = new Set();

function trackSockets() {
  const BaseSocket = sdk.getAdapter('WebSocket');

  class TrackedSocket extends BaseSocket {
    constructor(...args) {
      super(...args);
      sockets.add(this);
      this.addEventListener('close', () => sockets.delete(this));
    }
  }

  sdk.setAdapters({ WebSocket: TrackedSocket });
}

// Versions before 5 bring their own sockets.
if (sdk.setAdapters) trackSockets();

// Events of versions that do not list them.
const EVENTS = [
  'disconnect', 'reconnect', 'retry', 'schedule', 'offline', 'online', 'invited', 'kicked',
  'membersjoined', 'membersleft', 'message', 'receipt', 'lastdeliveredatupdate',
  'lastreadatupdate', 'messagerecall', 'messageupdate', 'unreadmessagescountupdate', 'close',
  'conflict',
];

// What of an object is shown to the test.

const CONVERSATION = [
  'id', 'name', 'creator', 'members', 'createdAt', 'updatedAt', 'lastMessage', 'lastMessageAt',
  'lastDeliveredAt', 'lastReadAt', 'unreadMessagesCount', 'unreadMessagesMentioned', 'muted',
  'mutedMembers', 'transient', 'system', 'expired', 'expiredAt', 'joined',
];
const MESSAGE = [
  'id', 'cid', 'from', 'timestamp', 'updatedAt', 'deliveredAt', 'status', 'mentionList',
  'mentionedAll', 'mentioned', 'type', 'text', 'attributes', 'summary', 'content',
];
const SHOWN = [
  [(object) => object instanceof sdk.Message, MESSAGE],
  [(object) => typeof object.queryMessages === 'function', CONVERSATION],
  [(object) => typeof object.createIMClient === 'function', []],
  [(object) => typeof object.getQuery === 'function', ['id']],
  [(object) => object.memberId !== undefined, ['conversationId', 'memberId', 'role', 'isOwner']],
  [(object) => object instanceof AV.GeoPoint, ['latitude', 'longitude']],
  [(object) => object instanceof AV.File, ['id']],
];

function fieldsOf(object) {
  const [, names] = SHOWN.find(([fits]) => fits(object)) || [null, []];
  const fields = {};
  names.forEach((name) => {
    // Some getters of the SDK refuse on some kinds of objects.
    try {
      if (object[name] !== undefined) fields[name] = encode(object[name]);
    } catch (error) {
      fields[name] = null;
    }
  });
  return fields;
}

function isPlain(object) {
  const prototype = Object.getPrototypeOf(object);
  return prototype === Object.prototype || prototype === null;
}

function bytesOf(object) {
  if (object instanceof ArrayBuffer) return Buffer.from(object);
  if (ArrayBuffer.isView(object)) {
    return Buffer.from(object.buffer, object.byteOffset, object.byteLength);
  }
  return null;
}

function encodeError(error) {
  const { name, message } = error;
  return { $error: { ...mapValues({ ...error }, encode), name, message } };
}

function mapValues(object, convert) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, convert(value)]));
}

function encode(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === 'symbol') return value.description;
  if (typeof value === 'function') return { $function: value.name };
  if (typeof value !== 'object') return value;
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Error) return encodeError(value);
  const bytes = bytesOf(value);
  if (bytes) return { $bytes: bytes.toString('base64') };
  if (Array.isArray(value)) return value.map(encode);
  if (value instanceof Set) return [...value].map(encode);
  if (isPlain(value)) return mapValues(value, encode);
  return { $ref: handleOf(value), class: value.constructor.name, fields: fieldsOf(value) };
}

function decode(value) {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(decode);
  if ('$ref' in value) return resolve(value.$ref);
  if ('$date' in value) return new Date(value.$date);
  if ('$bytes' in value) return Uint8Array.from(Buffer.from(value.$bytes, 'base64')).buffer;
  if ('$js' in value) {
    const names = Object.keys(classes);
    // The source is the test's own.
    return new Function(...names, 'require', `return (${value.$js});`)(
      ...names.map((name) => classes[name]),
      require
    );
  }
  return mapValues(value, decode);
}

// Commands.

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function listen(emitter) {
  const source = handleOf(emitter);
  Object.values(sdk.Event || EVENTS).forEach((event) => {
    emitter.on(event, (...args) => write({ event, source, args: args.map(encode) }));
  });
}

const operations = {
  new: ({ class: name, args }) => new (resolve(name))(...decode(args)),
  call: ({ target, method, args }) => resolve(target)[method](...decode(args)),
  get: ({ target, name }) => resolve(target)[name],
  set: ({ target, name, value }) => {
    resolve(target)[name] = decode(value);
  },
  listen: ({ target }) => listen(resolve(target)),
  drop: () => {
    const dropped = sockets.size;
    sockets.forEach((socket) => socket.terminate());
    return dropped;
  },
};

async function execute(command) {
  try {
    const value = await operations[command.op](command);
    if (command.listen) listen(value);
    write({ id: command.id, ok: encode(value) });
  } catch (error) {
    write({ id: command.id, error: encode(error instanceof Error ? error : new Error(error)) });
  }
}

process.on('unhandledRejection', (error) => {
  write({ event: 'unhandledRejection', source: null, args: [encode(error)] });
});

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => execute(JSON.parse(line)));
lines.on('close', () => process.exit(0));
