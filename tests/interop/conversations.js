// Runs the storage SDK through what it does with conversations and messages, with the keys of a
// backend, and says what it saw as one line of JSON.
// node conversations.js PACKAGE SERVER APP_ID APP_KEY MASTER_KEY

'use strict';

const [name, serverURL, appId, appKey, masterKey] = process.argv.slice(2);
const AV = require(name);
// The third version spells it differently.
AV.init({ appId, appKey, masterKey, serverURL, serverURLs: serverURL });
AV.Cloud.useMasterKey();

const text = (said) => ({ toJSON: () => ({ _lctype: -1, _lctext: said }) });

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return error.code;
  }
  return null;
}

(async () => {
  const seen = {};
  seen.date = await AV.Cloud.getServerDate();

  const chat = new AV.Conversation('lunch');
  chat.set('unique', true);
  ['Tom', 'Jerry', 'Mary'].forEach((member) => chat.addMember(member));
  chat.set('topic', { dish: 'cheese', guests: 3 });
  await chat.save();
  chat.remove('m', 'Mary');
  chat.set('place', new AV.GeoPoint(1, 2));
  chat.increment('served', 2);
  await chat.save();
  const again = AV.Object.createWithoutData('_Conversation', chat.id);
  await again.fetch();
  seen.chat = {
    id: chat.id,
    name: again.get('name'),
    members: again.get('m'),
    muted: again.get('mu'),
    unique: again.get('unique'),
    topic: again.get('topic'),
    served: again.get('served'),
  };

  const room = new AV.Conversation('hall', { isTransient: true });
  const service = new AV.Conversation('news', { isSystem: true });
  await room.save();
  await service.save();
  seen.kinds = [];
  for (const one of [room, service]) {
    await one.fetch();
    seen.kinds.push([one.isTransient(), one.isSystem()]);
  }
  seen.service = service.id;

  const rows = ['row 1', 'row 2', 'row 3'].map((row) => new AV.Conversation(row));
  await AV.Object.saveAll(rows);
  const query = new AV.Query('_Conversation').startsWith('name', 'row').descending('name');
  seen.found = (await query.find()).map((row) => row.get('name'));
  seen.count = await query.count();
  const either = AV.Query.or(
    new AV.Query('_Conversation').equalTo('name', 'row 2'),
    new AV.Query('_Conversation').containsAll('m', ['Tom', 'Jerry']),
  );
  seen.either = (await either.ascending('name').find()).map((row) => row.get('name'));
  seen.page = (await query.skip(1).limit(1).select('name').find()).map((row) => row.get('name'));
  await AV.Object.destroyAll(rows.slice(0, 2));
  await rows[2].destroy();
  seen.gone = await new AV.Query('_Conversation').startsWith('name', 'row').count();
  seen.missing = await refused(rows[0].fetch());

  await chat.send('Tom', 'plain');
  await chat.send('Tom', text('typed'), { pushData: { alert: '!' } });
  await chat.send('Tom', text('in passing'), { transient: true });
  await service.send('editor', text('for Jerry alone'), { toClients: ['Jerry'] });
  await service.broadcast('editor', text('for everybody'), {
    validTill: new Date(Date.now() + 60000),
    pushData: { alert: '!' },
  });
  const nowhere = AV.Object.createWithoutData('_Conversation', '0'.repeat(24));
  seen.nowhere = await refused(nowhere.send('Tom', 'x'));

  // What the SDK has no method for.
  seen.history = await AV.request({
    method: 'GET',
    path: '/rtm/messages/history',
    query: { convid: chat.id, limit: 2 },
    authOptions: { useMasterKey: true },
  });

  const device = new AV.Object('_Installation');
  await device.save({ deviceType: 'android', installationId: 'x', channels: ['Jerry'] });
  device.addUnique('channels', 'news');
  await device.save();
  const [same] = await new AV.Query('_Installation').equalTo('channels', 'news').find();
  seen.device = [same.id === device.id, same.get('channels')];
  process.stdout.write(JSON.stringify(seen) + '\n');
})();
