import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { StandIn, context, event } from './testing/aws.js';
import { handler as onConnect } from './onConnect.mjs';
import { handler as onDisconnect } from './onDisconnect.mjs';
import { handler as sendMessage } from './sendMessage.mjs';

const OK = { statusCode: 200 };

function say(from, data, milliseconds) {
  return sendMessage(event(from, JSON.stringify({ action: 'sendmessage', data })), context(milliseconds));
}

/** The log lines of a test, each of which must be one line of JSON. */
function watchLog(t) {
  const lines = [];
  t.mock.method(console, 'error', (line) => {
    assert.doesNotMatch(line, /\n/);
    lines.push(JSON.parse(line));
  });
  return lines;
}

test('$connect remembers the connection, $disconnect forgets it', async (t) => {
  const aws = await StandIn.start(t);
  const before = Math.floor(Date.now() / 1000);
  assert.deepEqual(await onConnect(event('a=')), OK);
  const { connectionId, connectedAt, expiresAt } = aws.table.get('a=');
  assert.equal(connectionId.S, 'a=');
  assert.ok(connectedAt.N >= before && connectedAt.N <= Date.now() / 1000);
  assert.equal(expiresAt.N - connectedAt.N, 2 * 3600 + 600);
  assert.equal(aws.calls[0].input.TableName, 'chat-connections');

  assert.deepEqual(await onDisconnect(event('a=')), OK);
  assert.equal(aws.table.size, 0);
  assert.deepEqual(await onDisconnect(event('a=')), OK);
});

test('$connect refuses the handshake if the connection cannot be remembered', async (t) => {
  const aws = await StandIn.start(t);
  aws.before = () => 400;
  await assert.rejects(onConnect(event('a')), /HTTP 400/);
  assert.equal(aws.calls.length, 1);
});

test('everyone receives a message, the sender too, and nothing is returned (H9)', async (t) => {
  const aws = await StandIn.start(t);
  const everyone = ['a=', 'b/+ %', 'c'].map((id) => aws.connect(id));
  assert.deepEqual(await say('a=', 'hello'), OK);
  for (const id of everyone) assert.deepEqual(aws.received.get(id), ['hello']);
});

const TEXTS = {
  'an emoji': ['👋🏽', '👋🏽'],
  'half an emoji': ['a\ud83d', 'a\ufffd'],
  'an empty string': ['', ''],
  'a number': [42, '42'],
  null: [null, 'null'],
  false: [false, 'false'],
  'an object': [{ a: [1, 'ü', '\ud83d'] }, '{"a":[1,"ü","\\ud83d"]}'],
  "half a frame of API Gateway's": [{ message: 'hi', connectionId: 'x' }, '{"message":"hi","connectionId":"x"}'],
  'line breaks': ['a\r\n\r\nb', 'a\r\n\r\nb'],
  '32 KB': ['ä'.repeat(16 * 1024), 'ä'.repeat(16 * 1024)],
};

for (const [name, [data, text]] of Object.entries(TEXTS)) {
  test(`data: ${name}`, async (t) => {
    const aws = await StandIn.start(t);
    aws.connect('a');
    assert.deepEqual(await say('a', data), OK);
    assert.deepEqual(aws.received.get('a'), [text]);
  });
}

test('`data` has at most 32 KB in UTF-8, or what is set', async (t) => {
  const aws = await StandIn.start(t);
  const send = async (bytes) => {
    aws.connect('a');
    await say('a', 'ä'.repeat(bytes / 2));
    return aws.received.get('a').pop();
  };
  assert.equal(Buffer.byteLength(await send(32 * 1024)), 32 * 1024);
  assert.match(JSON.parse(await send(32 * 1024 + 2)).chatctl.error, /larger than 32768 bytes/);
  process.env.MESSAGE_SIZE = '131072';
  t.after(() => delete process.env.MESSAGE_SIZE);
  assert.equal(Buffer.byteLength(await send(120 * 1024)), 120 * 1024);
  assert.match(JSON.parse(await send(128 * 1024 + 2)).chatctl.error, /larger than 131072 bytes/);
});

const GARBAGE = {
  'no body': undefined,
  'no JSON': '{"action":"sendmessage","data":',
  'an empty body': '',
  'no object': '"sendmessage"',
  'a null': 'null',
  'an array': '[{"data":"x"}]',
  'no data': '{"action":"sendmessage"}',
  'inherited data': '{"action":"sendmessage","__proto__":{"data":"x"}}',
  'deep JSON': `{"data":${'['.repeat(64_000)}${']'.repeat(64_000)}}`,
  'deep JSON, cut': '['.repeat(128 * 1024),
  'numbers that grow beyond the limit': `{"data":[${'1e20,'.repeat(4_000)}1]}`,
  'lone surrogates for keys': '{"\ud83d":"\udc4b"}',
  'a frame of the service': JSON.stringify({ data: ' {"chatctl":{"error":"pay here"}}' }),
  'a frame of the service, written otherwise': JSON.stringify({ data: '{"more":1,"\\u0063hatctl":0}' }),
  'a frame of the service, as an object': JSON.stringify({ data: { chatctl: { error: 'pay here' } } }),
  "a frame of API Gateway's": JSON.stringify({ data: { message: 'Forbidden', connectionId: 'x', requestId: 'y' } }),
  "a frame of Lambda's": JSON.stringify({ data: { errorMessage: 'no', errorType: 'Error' } }),
};

for (const [name, body] of Object.entries(GARBAGE)) {
  test(`garbage: ${name}: the sender is told, and the next message goes through`, async (t) => {
    const aws = await StandIn.start(t);
    aws.connect('a');
    aws.connect('b');
    assert.deepEqual(await sendMessage(event('a', body), context()), OK);
    assert.equal(aws.received.get('b').length, 0);
    const [frame, ...more] = aws.received.get('a').map(JSON.parse);
    assert.deepEqual(Object.keys(frame), ['chatctl']);
    assert.equal(typeof frame.chatctl.error, 'string');
    assert.equal(more.length, 0);
    await say('a', 'next');
    assert.deepEqual(aws.received.get('b'), ['next']);
  });
}

test('garbage from someone who is gone already', async (t) => {
  await StandIn.start(t);
  const log = watchLog(t);
  assert.deepEqual(await sendMessage(event('gone', '{}'), context()), OK);
  assert.equal(log.length, 1);
});

test('thousands: each once, bounded, and the next page is read while this one is sent', async (t) => {
  const aws = await StandIn.start(t);
  for (let i = 0; i < 2_500; i++) aws.connect(`id-${i}`);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  aws.before = ({ operation }) => {
    if (aws.count('Scan') === 2 && aws.posting === 100) release();
    return operation === 'Post' ? held : undefined;
  };
  await say('id-0', 'hello');
  for (const texts of aws.received.values()) assert.deepEqual(texts, ['hello']);
  assert.equal(aws.count('Scan'), 9); // the first page, then eight segments
  assert.equal(aws.mostPosting, 100);
  assert.ok(aws.sockets.size <= 101, `${aws.sockets.size} sockets`);
  const { input } = aws.calls.find(({ operation }) => operation === 'Scan');
  assert.equal(input.ProjectionExpression, 'connectionId, connectedAt');
  assert.equal(input.ConsistentRead, true);
});

test('a connection that is gone is removed, by its own id', async (t) => {
  const aws = await StandIn.start(t);
  aws.connect('sender');
  aws.connect('gone');
  aws.received.delete('gone');
  assert.deepEqual(await say('sender', 'hello'), OK);
  assert.deepEqual([...aws.table.keys()], ['sender']);
});

test('a 410 of a young connection removes nothing (H3)', async (t) => {
  const aws = await StandIn.start(t);
  const log = watchLog(t);
  aws.connect('sender');
  aws.connect('young', { age: 20 });
  aws.received.delete('young');
  await say('sender', 'hello');
  assert.ok(aws.table.has('young'));
  assert.equal(aws.count('DeleteItem'), 0);
  assert.deepEqual(log, []);
});

test('a row written anew between the read and the removal stays (H3)', async (t) => {
  const aws = await StandIn.start(t);
  const log = watchLog(t);
  aws.connect('sender');
  aws.connect('back');
  aws.received.delete('back');
  aws.before = ({ operation }) => void (operation === 'DeleteItem' && aws.connect('back', { age: 0 }));
  await say('sender', 'hello');
  assert.equal(aws.count('DeleteItem'), 1);
  assert.ok(aws.table.has('back'));
  assert.deepEqual(log, []);
});

for (const status of [400, 403, 413]) {
  test(`${status} removes nothing, is not tried again, and stops nobody else`, async (t) => {
    const aws = await StandIn.start(t);
    const log = watchLog(t);
    for (const id of ['a', 'bad', 'c']) aws.connect(id);
    aws.before = ({ connectionId }) => (connectionId === 'bad' ? status : undefined);
    assert.deepEqual(await say('a', 'hello'), OK);
    assert.deepEqual(aws.received.get('c'), ['hello']);
    assert.ok(aws.table.has('bad'));
    assert.equal(aws.count('Post'), 4); // with the word to the sender
    assert.equal(log[0].connectionId, 'bad');
    assert.match(log[0].reason, new RegExp(`HTTP ${status}`));
    assert.deepEqual(log[1], { error: 'not everyone was reached', sent: 2, gone: 0, failed: 1, unanswered: 0, left: 0 });
    assert.match(aws.received.get('a').at(-1), /^\{"chatctl":\{"error":"not everyone was reached: 1 of 3 /);
  });
}

for (const failure of [429, 500, 503]) {
  test(`${failure} is tried again`, async (t) => {
    const aws = await StandIn.start(t);
    const log = watchLog(t);
    for (const id of ['a', 'bad', 'c']) aws.connect(id);
    let left = 5;
    aws.before = ({ connectionId }) => (connectionId === 'bad' && left-- > 0 ? failure : undefined);
    assert.deepEqual(await say('a', 'hello'), OK);
    for (const id of ['a', 'bad', 'c']) assert.deepEqual(aws.received.get(id), ['hello']);
    assert.deepEqual(log, []);
  });
}

test('a message that reaches nobody is an error of the function', async (t) => {
  const aws = await StandIn.start(t);
  const log = watchLog(t);
  for (let i = 0; i < 50; i++) aws.connect(`id-${i}`);
  aws.before = ({ operation }) => (operation === 'Post' ? 403 : undefined);
  await assert.rejects(say('id-0', 'hello'), /no receiver could be reached/);
  assert.equal(log.length, 23); // twenty receivers, the sum, the sender twice
  assert.deepEqual(log[20], { error: 'not everyone was reached', sent: 0, gone: 0, failed: 50, unanswered: 0, left: 0 });
});

test('a table that cannot be read is an error of the function, after a throttled read is tried again', async (t) => {
  const aws = await StandIn.start(t);
  aws.connect('a');
  aws.Scan = () => [400, { __type: 'x#AccessDeniedException', message: 'not authorized to perform: dynamodb:Scan' }];
  await assert.rejects(say('a', 'hello'), /AccessDeniedException not authorized/);
  assert.equal(aws.count('Scan'), 1);

  aws.Scan = () => [400, { __type: 'x#ProvisionedThroughputExceededException' }];
  aws.before = ({ operation }) => void (operation === 'Scan' && aws.count('Scan') > 2 && delete aws.Scan);
  await say('a', 'hello');
  assert.equal(aws.received.get('a').at(-1), 'hello');
});

test('when the second page cannot be read, the first one is still sent, and the sender is told', async (t) => {
  const aws = await StandIn.start(t);
  for (let i = 0; i < 1_500; i++) aws.connect(`id-${i}`);
  aws.before = ({ input }) => (input?.Segment === 3 ? 400 : undefined);
  await assert.rejects(say('id-0', 'hello'), /HTTP 400/);
  const heard = [...aws.received.values()].flat().filter((text) => text === 'hello');
  assert.ok(heard.length >= 1_000);
  assert.match(aws.received.get('id-0').at(-1), /the list of receivers could not be read to its end/);
});

test('a row that cannot be removed is told, and stops nobody', async (t) => {
  const aws = await StandIn.start(t);
  const log = watchLog(t);
  aws.connect('a');
  aws.connect('gone');
  aws.received.delete('gone');
  aws.before = ({ operation }) => (operation === 'DeleteItem' ? 400 : undefined);
  assert.deepEqual(await say('a', 'hello'), OK);
  assert.equal(log[0].error, 'a dead connection was not removed');
});

test('when the time runs out, who was not reached is counted, the sender is told, and the function fails', async (t) => {
  const aws = await StandIn.start(t);
  const log = watchLog(t);
  for (let i = 0; i < 1_200; i++) aws.connect(`id-${i}`);
  let answered = 0;
  aws.before = ({ text }) => (text === 'hello' && ++answered > 50 ? new Promise(() => {}) : undefined);
  await assert.rejects(say('id-0', 'hello', 2_000), /out of time/);
  const { sent, failed, unanswered, left } = log.find(({ error }) => error === 'not everyone was reached');
  assert.equal(sent, 50);
  assert.equal(failed, unanswered);
  assert.equal(failed + left, 1_150);
  assert.equal(answered, sent + failed); // and nobody else was tried
  assert.match(aws.received.get('id-0').at(-1), /1150 of 1200 receivers missed the message/);
});

test('where many are refused for their number, fewer are under way at once', async (t) => {
  const aws = await StandIn.start(t);
  for (let i = 0; i < 1_000; i++) aws.connect(`id-${i}`);
  let refused = 0;
  aws.before = async ({ operation }) => {
    const tooMany = operation === 'Post' && aws.posting > 20;
    if (tooMany) refused++;
    await sleep(5);
    return tooMany ? 429 : undefined;
  };
  assert.deepEqual(await say('id-0', 'hello'), OK);
  for (const texts of aws.received.values()) assert.deepEqual(texts, ['hello']);
  assert.ok(refused < 1_000, `${refused} refusals`);
});

test('receivers who are slow, and more than may be silent at once, are all reached', async (t) => {
  const aws = await StandIn.start(t);
  for (let i = 0; i < 900; i++) aws.connect(`id-${i}`);
  aws.before = ({ operation }) => (operation === 'Post' ? { after: 400 } : undefined);
  assert.deepEqual(await say('id-0', 'hello', 12_000), OK);
  for (const texts of aws.received.values()) assert.deepEqual(texts, ['hello']);
});

test('who turns out to be gone at the very end is left to the next message', async (t) => {
  const aws = await StandIn.start(t);
  aws.connect('id-0');
  aws.connect('gone');
  aws.before = ({ connectionId }) => (connectionId === 'gone' ? sleep(1_300, 410) : undefined);
  assert.deepEqual(await say('id-0', 'hello', 2_000), OK);
  assert.equal(aws.count('DeleteItem'), 0);
  assert.ok(aws.table.has('gone'));
});

test('a quota that is exceeded costs time, and nobody the message', async (t) => {
  const aws = await StandIn.start(t);
  const log = watchLog(t);
  for (let i = 0; i < 500; i++) aws.connect(`id-${i}`);
  let open = false;
  setTimeout(() => (open = true), 1_000);
  aws.before = ({ operation }) => (operation === 'Post' && !open ? 429 : undefined);
  assert.deepEqual(await say('id-0', 'hello'), OK);
  for (const texts of aws.received.values()) assert.deepEqual(texts, ['hello']);
  assert.deepEqual(log, []);
});

test('a page that cannot be read for seconds loses nobody', async (t) => {
  const aws = await StandIn.start(t);
  for (let i = 0; i < 1_500; i++) aws.connect(`id-${i}`);
  const until = Date.now() + 1_000;
  aws.before = ({ input }) => (input?.Segment === 3 && Date.now() < until ? 500 : undefined);
  assert.deepEqual(await say('id-0', 'hello'), OK);
  for (const texts of aws.received.values()) assert.deepEqual(texts, ['hello']);
});

test('a row without a time is removed when its connection is gone', async (t) => {
  const aws = await StandIn.start(t);
  aws.connect('a');
  aws.connect('walkthrough');
  delete aws.table.get('walkthrough').connectedAt;
  aws.received.delete('walkthrough');
  await say('a', 'hello');
  assert.deepEqual([...aws.table.keys()], ['a']);
});

test('a subprotocol that the client asks for is echoed (H17)', async (t) => {
  await StandIn.start(t);
  const { headers } = await onConnect({ ...event('a'), headers: { 'Sec-WebSocket-Protocol': 'chat, other' } });
  assert.deepEqual(headers, { 'Sec-WebSocket-Protocol': 'chat' });
});

test('credentials are read anew for each request', async (t) => {
  const aws = await StandIn.start(t);
  aws.connect('a');
  aws.before = () => {
    process.env.AWS_SESSION_TOKEN = aws.calls.length === 1 ? 'rotated' : '';
    process.env.AWS_ACCESS_KEY_ID = `AKID${aws.calls.length}`;
  };
  await say('a', 'hello');
  await say('a', 'hello');
  assert.deepEqual(aws.calls.map(({ headers }) => headers['x-amz-security-token']), ['token', 'rotated', undefined, undefined]);
  assert.match(aws.calls[3].headers.authorization, /Credential=AKID3\//);
});
