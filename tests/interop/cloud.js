// Cloud code as one writes it for LeanEngine: all hooks of instant messaging, and the address
// that gets what clients write to service conversations. test_leanengine.py is the other side.
//
// Says on stdout, one JSON object a line, first {port}, then {hook, params} for each call.
'use strict';

const http = require('http');
const AV = require('leanengine');

AV.init({
  appId: process.env.LEANCLOUD_APP_ID,
  appKey: process.env.LEANCLOUD_APP_KEY,
  masterKey: process.env.LEANCLOUD_APP_MASTER_KEY,
  hookKey: process.env.LEANCLOUD_APP_HOOK_KEY,
});

// stdout belongs to the test.
console.log = console.error;

function say(object) {
  process.stdout.write(`${JSON.stringify(object)}\n`);
}

function told(hook, request) {
  say({ hook, params: request.params });
  return request.params;
}

// Messages.

AV.Cloud.onIMMessageReceived((request) => {
  const { content, bin, toPeers } = told('_messageReceived', request);
  if (bin) {
    const bytes = Buffer.from(content, 'base64').reverse();
    return { content: bytes.toString('base64'), bin: true };
  }
  const message = JSON.parse(content);
  switch (message._lctext) {
    case 'shout':
      return { drop: true, code: 7, detail: 'do not shout' };
    case 'crash':
      throw new AV.Cloud.Error('crashed', { code: 1234 });
    case 'nothing':
      return undefined;
    case 'whisper':
      return { toPeers: toPeers.filter((peer) => peer !== 'Mary') };
    default:
      return { content: content.replace(/damn/g, '****') };
  }
});

// The older way of answering.
AV.Cloud.onIMMessageUpdate((request, response) => {
  const { content } = told('_messageUpdate', request);
  if (content.includes('shout')) {
    response.success({ drop: true, code: 8, detail: 'still no shouting' });
  } else {
    response.success({ content: content.replace(/damn/g, '****') });
  }
});

AV.Cloud.onIMReceiversOffline((request) => {
  const { content, offlinePeers } = told('_receiversOffline', request);
  return {
    offlinePeers: offlinePeers.filter((peer) => peer !== 'Spike'),
    pushMessage: JSON.stringify({ alert: content.replace(/.*"_lctext":"([^"]*)".*/, '$1') }),
    force: true,
  };
});

AV.Cloud.onIMMessageSent((request) => {
  told('_messageSent', request);
});

// Conversations.

AV.Cloud.onIMConversationStart((request) => {
  const { attr } = told('_conversationStart', request);
  return attr.name === 'forbidden' ? { reject: true, code: 9, detail: 'no such name' } : {};
});

AV.Cloud.onIMConversationStarted((request) => {
  told('_conversationStarted', request);
});

AV.Cloud.onIMConversationAdd((request) => {
  const { members } = told('_conversationAdd', request);
  return members.includes('Stranger') ? { reject: true, code: 10 } : {};
});

AV.Cloud.onIMConversationAdded((request) => {
  told('_conversationAdded', request);
});

AV.Cloud.onIMConversationRemove((request) => {
  const { members } = told('_conversationRemove', request);
  return { reject: members.includes('Jerry') };
});

AV.Cloud.onIMConversationRemoved((request) => {
  told('_conversationRemoved', request);
});

AV.Cloud.onIMConversationUpdate((request) => {
  const { attr } = told('_conversationUpdate', request);
  return attr ? { attr: { ...attr, seen: true } } : {};
});

// Clients.

AV.Cloud.onIMClientOnline((request) => {
  told('_clientOnline', request);
});

AV.Cloud.onIMClientOffline((request) => {
  told('_clientOffline', request);
});

AV.Cloud.onIMClientSign((request) => {
  const { objectId } = told('_rtmClientSign', request);
  return objectId === 'Spike' ? { result: false, error: 'banned' } : { result: true };
});

// What clients write to services comes to an address of the program's choice.

const functions = AV.express();

const server = http.createServer((request, response) => {
  if (request.url !== '/service') {
    functions(request, response, () => response.writeHead(404).end());
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    say({ hook: 'service', params: JSON.parse(Buffer.concat(chunks).toString()) });
    response.end();
  });
});

server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
