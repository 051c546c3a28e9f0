// Runs the storage SDK through the life of a file, and says what it saw as one line of JSON.
// node files.js PACKAGE SERVER APP_ID APP_KEY MASTER_KEY

'use strict';

const { createHash, randomBytes } = require('crypto');
const { Readable } = require('stream');
const [name, serverURL, appId, appKey, masterKey] = process.argv.slice(2);
const AV = require(name);
// The third version spells it differently.
AV.init({ appId, appKey, masterKey, serverURL, serverURLs: serverURL });

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function download(url) {
  const response = await fetch(url);
  const bytes = Buffer.from(await response.arrayBuffer());
  return { status: response.status, type: response.headers.get('content-type'), digest: digest(bytes) };
}

async function saved(file, bytes, options) {
  await file.save(options);
  const again = AV.File.createWithoutData(file.id);
  await again.fetch();
  return {
    id: file.id,
    url: file.url(),
    name: file.name(),
    size: file.size(),
    type: file.get('mime_type'),
    digest: digest(bytes),
    downloaded: await download(file.url()),
    fetched: { url: again.url(), name: again.name(), size: again.size(), created: again.createdAt },
  };
}

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return { code: error.code, message: error.message };
  }
  return null;
}

(async () => {
  const seen = {};
  const bytes = randomBytes(3000000);
  const file = new AV.File('x.png', bytes);
  seen.buffer = await saved(file, bytes);
  seen.base64 = await saved(new AV.File('note.txt', { base64: 'aGVsbG8=' }), Buffer.from('hello'));
  seen.array = await saved(new AV.File('three.bin', [1, 2, 3]), Buffer.from([1, 2, 3]));
  const stream = new AV.File('stream.mp4', Readable.from([bytes.subarray(0, 9), bytes.subarray(9)]));
  stream.metaData('size', bytes.length);
  try {
    seen.stream = await saved(stream, bytes);
  } catch (error) {
    // Early versions cannot, whatever the server is.
    if (!/not yet supported/.test(error.message)) throw error;
    seen.stream = null;
  }
  seen.kept = await saved(new AV.File('名 字.txt', bytes), bytes, { keepFileName: true });
  seen.keyed = await saved(new AV.File('k.gif', bytes), bytes, { key: 'gifs/k.gif', useMasterKey: true });

  const external = AV.File.withURL('logo.jpg', 'https://example.com/logo.jpg', { width: 3 });
  await external.save();
  const again = AV.File.createWithoutData(external.id);
  await again.fetch();
  seen.external = { url: again.url(), name: again.name(), metaData: again.metaData() };

  seen.tooLarge = await refused(new AV.File('big.bin', Buffer.alloc(4000001)).save());
  seen.destroyRefused = await refused(file.destroy());
  seen.destroyed = await file.destroy({ useMasterKey: true });
  seen.afterwards = (await download(file.url())).status;
  process.stdout.write(JSON.stringify(seen) + '\n');
})();
