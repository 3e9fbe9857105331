import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import test from 'node:test';
import { Issuer } from './issuer.mjs';
import { StandInIssuer, makeKey, makeToken } from './testing/issuer.js';
import { StandIn, event } from './testing/aws.js';
import { handler as onConnect } from './onConnect.mjs';

const ARN = 'arn:aws:execute-api:eu-central-1:111122223333:api1/prod/$connect';
const [ONE, TWO] = [makeKey('ES256', 'one'), makeKey('ES256', 'two')];

/** An issuer with a key, the lines that are logged, and a handler of an execution environment of its own. */
async function start(t, { place = 'query:token' } = {}) {
  const issuer = await StandInIssuer.serve(t);
  issuer.keys = [ONE];
  const saved = { ...process.env };
  t.after(() => (process.env = saved));
  Object.assign(process.env, { JWT_ISSUER: issuer.url, JWT_AUDIENCE: 'chat', JWT_TOKEN: place });
  const log = [];
  t.mock.method(console, 'error', (line) => log.push(line));
  const { handler } = await import(`./authorizer.mjs?${issuer.url}`);
  return { issuer, log, handler, token: (claims, key = ONE) => makeToken(key, issuer.claims(claims)) };
}

/** What API Gateway hands to the function. */
function request({ headers = {}, query = {} }) {
  const lists = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value].flat()]));
  return { type: 'REQUEST', methodArn: ARN, multiValueHeaders: lists(headers), multiValueQueryStringParameters: lists(query) };
}

const effect = ({ policyDocument: { Statement } }) => {
  assert.deepEqual(Statement.map(({ Action, Resource }) => [Action, Resource]), [['execute-api:Invoke', ARN]]);
  return Statement[0].Effect;
};

test('who brings a token is let in to this API alone, and the handlers are told who it is', async (t) => {
  const { handler, token, log } = await start(t);
  const answer = await handler(request({ query: { token: token({ groups: ['a', 'b'], email_verified: true, other: 'x', name: 'x'.repeat(2000) }) } }));
  assert.equal(effect(answer), 'Allow');
  assert.equal(answer.principalId, 'alice');
  const { sub, groups, email_verified: verified, iss, exp, ...rest } = answer.context;
  assert.deepEqual([sub, groups, verified, iss.slice(0, 17), Number(exp) > 1e9, rest], ['alice', '["a","b"]', 'true', 'http://127.0.0.1:', true, {}]);
  assert.ok(Object.values(answer.context).every((value) => typeof value === 'string'));
  assert.deepEqual(log, []);
});

test('who it is reaches the row of the connection', async (t) => {
  const aws = await StandIn.start(t);
  const connect = (authorizer) => {
    const { requestContext } = event('a');
    return onConnect({ requestContext: { ...requestContext, authorizer } });
  };
  await connect({ principalId: 'alice' });
  assert.deepEqual(aws.table.get('a').principal, { S: 'alice' });
  for (const nobody of [undefined, {}, { principalId: '' }]) {
    await connect(nobody);
    assert.equal(aws.table.get('a').principal, undefined);
  }
});

test('a token may be in a header, whose name may be written in any way', async (t) => {
  const { handler, token } = await start(t, { place: 'header:Authorization' });
  const by = async (headers) => effect(await handler(request({ headers })));
  for (const headers of [{ Authorization: `Bearer ${token()}` }, { authorization: `bearer  ${token()}` }, { AUTHORIZATION: token() }]) {
    assert.equal(await by(headers), 'Allow');
  }
  for (const headers of [{}, { Authorization: '' }, { Authorization: `Basic ${token()}` }, { 'x-authorization': token() }, { Authorization: 'Bearer' }]) {
    assert.equal(await by(headers), 'Deny');
  }
});

test('a token may be offered beside a subprotocol, and that one alone is named in return', async (t) => {
  const { handler, token } = await start(t, { place: 'protocol' });
  await StandIn.start(t);
  const offer = `bearer.${token()}`;
  const echo = async (offers) => (await onConnect({ ...event('a'), headers: { 'Sec-WebSocket-Protocol': offers } })).headers;
  for (const offers of [`chat, ${offer}`, `${offer},chat`, offer]) {
    assert.equal(effect(await handler(request({ headers: { 'Sec-WebSocket-Protocol': offers } }))), 'Allow');
    assert.deepEqual(await echo(offers), offers === offer ? undefined : { 'Sec-WebSocket-Protocol': 'chat' });
  }
  for (const offers of ['chat', token(), `${offer}, ${offer}`, ['chat', offer, offer], 'bearer.']) {
    assert.equal(effect(await handler(request({ headers: { 'sec-websocket-protocol': offers } }))), 'Deny');
  }
});

test('a token that is there twice, elsewhere or not at all is none', async (t) => {
  const { handler, token, issuer } = await start(t);
  const good = token();
  const wrong = [
    { query: { token: [good, good] } },
    { query: { token: [good, 'x'] } },
    { query: { Token: good } },
    { query: { token: `Bearer ${good}` } },
    { headers: { Authorization: good, token: good } },
    {},
  ];
  for (const place of wrong) assert.equal(effect(await handler(request(place))), 'Deny');
  assert.equal(effect(await handler({ methodArn: ARN, multiValueHeaders: null, multiValueQueryStringParameters: null })), 'Deny');
  assert.deepEqual(issuer.asked, []);
});

test('a refusal is logged with its reason, and with nothing of the token', async (t) => {
  const { handler, token, log } = await start(t);
  const tokens = [token({ exp: 1 }), token({ aud: 'secret-audience' }), token({ sub: '' }), token({}, TWO), `${token()}x`, 'secret.secret.secret', token({ iss: 'secret' })];
  for (const text of tokens) {
    assert.equal(effect(await handler(request({ query: { token: text } }))), 'Deny');
    const { error, reason, ...rest } = JSON.parse(log.pop());
    assert.deepEqual([error, rest, log], ['a token was refused', {}, []]);
    for (const part of ['secret', 'alice', ...text.split('.')]) assert.ok(!reason.includes(part), reason);
  }
});

const MINUTE = 60_000;

/** The keys of `issuer` as one execution environment has them, and a clock that goes on when told to. */
function keysOf(t, issuer) {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const keys = new Issuer(issuer.url);
  return { has: async (kid) => Boolean(await keys.key(kid, 'ES256')), pass: (time) => t.mock.timers.tick(time) };
}

test('keys are fetched once, and again when they are ten minutes old', async (t) => {
  const { issuer } = await start(t);
  const { has, pass } = keysOf(t, issuer);
  for (let i = 0; i < 5; i++) assert.ok(await has('one'));
  assert.deepEqual(issuer.asked, ['/.well-known/openid-configuration', '/keys']);
  issuer.keys = [TWO];
  pass(9 * MINUTE);
  assert.ok(await has('one'));
  assert.equal(issuer.asked.length, 2);
  pass(2 * MINUTE);
  assert.ok(!(await has('one'))); // withdrawn
  assert.equal(issuer.asked.length, 4);
});

test('a key is for one algorithm alone', async (t) => {
  const { issuer } = await start(t);
  const keys = new Issuer(issuer.url);
  assert.ok(await keys.key('one', 'ES256'));
  for (const alg of ['RS256', 'EdDSA']) assert.equal(await keys.key('one', alg), undefined);
});

test('a rotated key is fetched as soon as a token names it', async (t) => {
  const { issuer } = await start(t);
  const { has, pass } = keysOf(t, issuer);
  assert.ok(await has('one'));
  issuer.keys = [ONE, TWO];
  pass(MINUTE);
  assert.ok(await has('two'));
  assert.ok(await has('one'));
});

test('whoever makes up names of keys makes nobody ask the issuer more than twice a minute', async (t) => {
  const { issuer } = await start(t);
  const { has, pass } = keysOf(t, issuer);
  assert.ok(await has('one'));
  for (let second = 0; second < 60; second++) {
    for (let i = 0; i < 20; i++) assert.ok(!(await has(`made-up-${second}-${i}`)));
    assert.ok(await has('one'));
    pass(1000);
  }
  assert.deepEqual(issuer.asked.filter((path) => path === '/keys').length, 2);
});

test('many at once ask the issuer once', async (t) => {
  const { issuer } = await start(t);
  const { has } = keysOf(t, issuer);
  assert.ok((await Promise.all(Array.from({ length: 20 }, () => has('one')))).every(Boolean));
  assert.equal(issuer.asked.length, 2);
});

test('a dead issuer lets nobody in whom it has not let in before, and its keys last for an hour', async (t) => {
  const { issuer, log } = await start(t);
  const { has, pass } = keysOf(t, issuer);
  assert.ok(await has('one'));
  issuer.stop();
  pass(59 * MINUTE);
  assert.ok(await has('one'));
  assert.ok(!(await has('two')));
  pass(2 * MINUTE);
  await assert.rejects(has('one'), /cannot be had/);
  assert.match(log[0], /could not be fetched.*ECONNREFUSED/);
});

test('an issuer that was dead is asked again after five seconds, as long as there are no keys', async (t) => {
  const { issuer } = await start(t);
  const { has, pass } = keysOf(t, issuer);
  issuer.instead = (path, response) => response.writeHead(503).end();
  for (let i = 0; i < 5; i++) await assert.rejects(has('one'), /cannot be had/);
  assert.equal(issuer.asked.length, 1);
  issuer.instead = () => false;
  pass(6000);
  assert.ok(await has('one'));
});

test('a slow issuer is waited for, but not for ever', async (t) => {
  const { issuer, log } = await start(t);
  const never = AbortSignal.abort();
  t.mock.method(AbortSignal, 'timeout', (milliseconds) => {
    assert.equal(milliseconds, 5000);
    return never;
  });
  await assert.rejects(new Issuer(issuer.url).key('one', 'ES256'), /cannot be had/);
  const slow = new AbortController();
  AbortSignal.timeout.mock.mockImplementation(() => slow.signal);
  // The first bytes come, and then nothing more.
  issuer.instead = async (path, response) => {
    response.writeHead(200).write('{');
    setImmediate(() => slow.abort());
    return true;
  };
  await assert.rejects(new Issuer(issuer.url).key('one', 'ES256'), /cannot be had/);
  assert.equal(log.length, 2);
});

const LIES = {
  'it is another issuer': (issuer) => answer({ '/.well-known/openid-configuration': { issuer: `${issuer.url}/`, jwks_uri: `${issuer.url}/keys` } }),
  'its keys are elsewhere, without TLS': (issuer) => answer({ '/.well-known/openid-configuration': { issuer: issuer.url, jwks_uri: 'http://keys.example/keys' } }),
  'its keys are in a file': (issuer) => answer({ '/.well-known/openid-configuration': { issuer: issuer.url, jwks_uri: 'file:///etc/passwd' } }),
  'it has no place for keys': (issuer) => answer({ '/.well-known/openid-configuration': { issuer: issuer.url } }),
  'it has nothing': () => answer({ '/.well-known/openid-configuration': null }),
  'its keys are no list': () => answer({ '/keys': { keys: { one: ONE.jwk } } }),
  'it has too many keys': () => answer({ '/keys': { keys: Array(101).fill(ONE.jwk) } }),
  'its keys are no JSON': () => answer({ '/keys': 'hello' }),
  'its answer is too large': () => answer({ '/keys': JSON.stringify({ keys: [ONE.jwk], more: 'x'.repeat(300_000) }) }),
  'it leads elsewhere': (issuer) => (path, response) => path === '/keys' && response.writeHead(302, { location: `${issuer.url}/elsewhere` }).end(),
  'it is not sure': () => (path, response) => path === '/keys' && response.writeHead(404).end(JSON.stringify({ keys: [ONE.jwk] })),
  'it breaks off': () => (path, response) => {
    if (path !== '/keys') return false;
    response.writeHead(200, { 'content-length': 1000 }).write('{"keys":', () => response.destroy());
    return true;
  },
  'it has two keys of one name': () => answer({ '/keys': { keys: [ONE.jwk, { ...TWO.jwk, kid: 'one' }] } }),
  'it has only secrets': () => answer({ '/keys': { keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: 'one', alg: 'ES256' }] } }),
};

function answer(documents) {
  return (path, response) => {
    if (!(path in documents)) return false;
    const document = documents[path];
    response.writeHead(200).end(typeof document === 'string' ? document : JSON.stringify(document));
    return true;
  };
}

for (const [name, lie] of Object.entries(LIES)) {
  test(`an issuer that lies lets nobody in: ${name}`, async (t) => {
    const { issuer, handler, token } = await start(t);
    issuer.instead = lie(issuer);
    const asked = handler(request({ query: { token: token() } }));
    if (name.includes('two keys') || name.includes('only secrets')) assert.equal(effect(await asked), 'Deny');
    else await assert.rejects(asked, /cannot be had/);
    issuer.instead = () => false;
    assert.equal(issuer.asked.includes('/elsewhere'), false);
  });
}

test('an issuer that is not on https is not asked, unless it is on this machine', async (t) => {
  const { log } = await start(t);
  for (const url of ['http://issuer.example', 'http://127.0.0.2.example', 'http://10.0.0.1', 'ftp://127.0.0.1', 'file:///etc']) {
    await assert.rejects(new Issuer(url).key('one', 'ES256'), /cannot be had/);
    assert.match(log.pop(), /not on https/);
  }
});

test('an issuer on https may not have its keys on this machine without TLS', async (t) => {
  const { issuer, log } = await start(t);
  const name = 'https://issuer.example';
  issuer.instead = answer({ '/.well-known/openid-configuration': { issuer: name, jwks_uri: `${issuer.url}/keys` } });
  // The way there is ours; what it says is the issuer's.
  t.mock.method(https, 'get', ({ pathname }, options) => http.get(`${issuer.url}${pathname}`, options));
  await assert.rejects(new Issuer(name).key('one', 'ES256'), /cannot be had/);
  assert.match(log.pop(), /not on https/);
  assert.deepEqual(issuer.asked, ['/.well-known/openid-configuration']);
});
