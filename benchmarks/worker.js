// One measured run of the npm SDK: node worker.js SCENARIO URL COUNT
'use strict';

const { Realtime, TextMessage, Event } = require('leancloud-realtime');

const [, , scenario, url, countText] = process.argv;
const count = Number(countText);
const WARM_UP = 500;
const TEXT = 'x'.repeat(120);

const seconds = (start) => Number(process.hrtime.bigint() - start) / 1e9;

async function send(conversation, total, inFlight) {
  let left = total;
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await conversation.send(new TextMessage(TEXT));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

async function receive(tom, conversation, total) {
  let seen = 0;
  let start;
  const done = new Promise((resolve) => {
    const listen = () => {
      if (seen === 0) start = process.hrtime.bigint();
      seen += 1;
      if (seen === total) {
        tom.off(Event.MESSAGE, listen);
        resolve();
      }
    };
    tom.on(Event.MESSAGE, listen);
  });
  await conversation.send(new TextMessage(`flood:${total}`));
  await done;
  return seconds(start);
}

async function main() {
  const realtime = new Realtime({
    appId: 'benchmark-app-MdYXbMMI',
    appKey: 'key',
    RTMServers: [url],
  });
  const tom = await realtime.createIMClient('Tom');
  const conversation = await tom.createConversation({ members: ['Jerry'] });
  let elapsed;
  if (scenario === 'receive') {
    await receive(tom, conversation, WARM_UP);
    elapsed = await receive(tom, conversation, count);
  } else {
    const inFlight = scenario === 'send_ack_64' ? 64 : 1;
    await send(conversation, WARM_UP, inFlight);
    const start = process.hrtime.bigint();
    await send(conversation, count, inFlight);
    elapsed = seconds(start);
  }
  console.log(JSON.stringify({ rate: count / elapsed }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
