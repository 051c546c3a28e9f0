// Older SDKs cannot be told where the server is: they ask LeanCloud's routers. Loaded with
// `node -r`, this leads their requests, and all that go over https, to the server at REDIRECT_TO.
'use strict';

const http = require('http');
const https = require('https');

const to = new URL(process.env.REDIRECT_TO);
const plain = http.request;

function led(options) {
  const asked = options instanceof URL || typeof options === 'string' ? new URL(options) : options;
  const host = asked.hostname || asked.host || '';
  if (!host.endsWith('leancloud.cn') && asked.protocol !== 'https:') return null;
  const path = asked.path || `${asked.pathname}${asked.search}`;
  return {
    method: asked.method,
    headers: { ...asked.headers, host: to.host },
    protocol: 'http:',
    hostname: to.hostname,
    port: to.port,
    path,
  };
}

function redirecting(original) {
  return function request(options, ...rest) {
    const instead = led(options);
    return instead ? plain.call(http, instead, ...rest) : original.call(this, options, ...rest);
  };
}

http.request = redirecting(plain);
https.request = redirecting(https.request);
