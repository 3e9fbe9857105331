// The promises of the queue, kept by real processes that are killed at any moment, against an AWS that misbehaves.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { handler as sendMessage } from './sendMessage.mjs';
import { Checkpoint } from './checkpoint.mjs';
import { pace } from './paced.mjs';
import { StandIn, context, event } from './testing/aws.js';
import { Environment } from './testing/environment.js';

const QUEUE_URL = 'https://sqs.eu-central-1.amazonaws.com/1/chat-messages.fifo';
const many = (count, name = 'id') => Array.from({ length: count }, (_, i) => `${name}-${i}`);
const never = () => new Promise(() => {});

/** Puts `texts` into the queue, as sendMessage does. */
function enqueue(aws, ...texts) {
  for (const text of texts) {
    const body = JSON.stringify({ apiId: 'api1', stage: 'prod', domainName: 'api1.execute-api.eu-central-1.amazonaws.com', text });
    aws.SendMessage({ input: { MessageBody: body, MessageGroupId: 'chat', MessageDeduplicationId: text } });
  }
}

async function begin(t, ids, { rate = 1_000 } = {}) {
  const aws = await StandIn.serve(t);
  for (const id of ids) aws.connect(id);
  const worker = () => new Environment(t, aws, { name: 'broadcast', environment: { QUEUE_URL, DELIVERY_RATE: String(rate) } });
  return { aws, worker };
}

/** What the mapping does: hands out messages and takes away what is done, until nothing is left. */
async function drain(aws, lambda, { time = 30_000, most } = {}) {
  for (let rounds = 0; aws.queue.length > 0; rounds++) {
    assert.ok(rounds < 40, 'the queue does not become empty');
    const event = aws.receive(most);
    const { returned, thrown } = await lambda.invoke(event, { time });
    assert.equal(thrown, undefined);
    aws.settle(event, returned.batchItemFailures);
  }
}

/** Runs one invocation which dies before its post `at`. */
async function die(aws, lambda, at, most) {
  let left = at;
  const before = aws.before;
  aws.before = (call) => {
    if (call.operation !== 'Post' || left-- > 0) return before(call);
    lambda.kill();
    return never();
  };
  const died = await lambda.invoke(aws.receive(most)).then(() => false, () => true);
  aws.before = before;
  assert.ok(died);
  assert.ok(aws.queue.every(({ hidden }) => hidden <= 20));
  aws.pass(20);
}

/** Everybody heard `texts`, in this order; returns how many heard something again. */
function assertHeard(aws, texts, ids = [...aws.received.keys()]) {
  let twice = 0;
  for (const id of ids) {
    const heard = aws.received.get(id);
    assert.deepEqual([...new Set(heard)], texts, id);
    if (heard.length > texts.length) twice++;
  }
  return twice;
}

describe('sendMessage with a queue', () => {
  const say = (body, id = 'a') => sendMessage({ ...event('a', body), requestContext: { ...event('a').requestContext, requestId: id } }, context());

  async function start(t) {
    const aws = await StandIn.start(t);
    process.env.QUEUE_URL = QUEUE_URL;
    aws.connect('a');
    aws.connect('b');
    return aws;
  }

  test('hands the message to the queue, once, and touches neither table nor connections', async (t) => {
    const aws = await start(t);
    aws.before = () => (aws.calls.length === 1 ? { after: 'never' } : undefined); // the answer is lost
    await say('{"data":"hello"}');
    await say('{"data":"hello"}', 'b');
    assert.deepEqual(new Set(aws.calls.map(({ operation }) => operation)), new Set(['SendMessage']));
    assert.deepEqual(aws.queue.map(({ record }) => JSON.parse(record.body).text), ['hello', 'hello']);
    const { input } = aws.calls[0];
    assert.equal(input.QueueUrl, QUEUE_URL);
    assert.equal(input.MessageDeduplicationId, 'a');
    // One group, so one order for everybody.
    assert.deepEqual(aws.queue.map(({ record }) => record.attributes.MessageGroupId), ['chat', 'chat']);
  });

  test('tells the sender what is wrong with a message, and that a right one could not be sent', async (t) => {
    const aws = await start(t);
    await say('{}');
    assert.match(aws.received.get('a').pop(), /no `data`/);
    aws.before = ({ operation }) => (operation === 'SendMessage' ? 400 : undefined);
    await assert.rejects(say('{"data":"hello"}'), /HTTP 400/);
    assert.match(aws.received.get('a').pop(), /could not be sent/);
    assert.equal(aws.queue.length, 0);
    assert.deepEqual(aws.received.get('b'), []);
  });

  test('every text goes through a queue that takes not every character', async (t) => {
    const aws = await start(t);
    const text = 'a\u0000\u001f\ufffe\uffff\ud83d\ufffd👋🏽\r\n\\ufffe';
    await say(JSON.stringify({ data: text }));
    assert.equal(JSON.parse(aws.queue[0].record.body).text, text);
  });
});

describe('a worker behind a queue', () => {
  test('takes a batch to everybody in order, with one scan, and hides it for 20 s first of all', async (t) => {
    const ids = many(180);
    const { aws, worker } = await begin(t, ids);
    const texts = many(9, 'text');
    enqueue(aws, ...texts);
    await drain(aws, worker());
    assert.equal(assertHeard(aws, texts), 0);
    assert.equal(aws.count('Scan'), 2); // pages of 112, for a second each
    const [{ operation, input }] = aws.calls;
    assert.equal(operation, 'ChangeMessageVisibilityBatch');
    assert.deepEqual(input.Entries.map(({ VisibilityTimeout }) => VisibilityTimeout), texts.map(() => 20));
  });

  for (const at of [0, 1, 999, 1_000, 1_777, 2_399]) {
    test(`killed before post ${at}, it is continued: nobody misses a message, at most a page hears it twice`, async (t) => {
      const { aws, worker } = await begin(t, many(1_200));
      enqueue(aws, 'one', 'two');
      await die(aws, worker(), at);
      enqueue(aws, 'three');
      await drain(aws, worker());
      const twice = assertHeard(aws, ['one', 'two', 'three']);
      assert.ok(twice <= 500, `${twice} heard it twice`);
    });
  }

  test('killed time and again, it comes to the end', async (t) => {
    const { aws, worker } = await begin(t, many(1_200));
    enqueue(aws, 'one', 'two');
    // Each of them gets through one page, and into the next one.
    for (let i = 0; i < 2; i++) await die(aws, worker(), 1_050);
    enqueue(aws, 'three');
    await drain(aws, worker());
    assertHeard(aws, ['one', 'two', 'three']);
  });

  test('what was done but not deleted is not sent again', async (t) => {
    const { aws, worker } = await begin(t, many(20));
    enqueue(aws, 'one', 'two');
    const lambda = worker();
    await lambda.invoke(aws.receive());
    lambda.kill();
    aws.pass(20);
    enqueue(aws, 'three');
    await drain(aws, worker());
    assert.equal(assertHeard(aws, ['one', 'two', 'three']), 0);
  });

  test('a batch that comes back in other pieces is continued for each of them', async (t) => {
    const { aws, worker } = await begin(t, many(800));
    enqueue(aws, 'one', 'two', 'three');
    await die(aws, worker(), 1_400);
    enqueue(aws, 'four');
    await drain(aws, worker(), { most: 1 });
    const twice = assertHeard(aws, ['one', 'two', 'three', 'four']);
    assert.ok(twice <= 334, `${twice} heard it twice`);
  });

  test('one that was replaced stops at the end of its page', async (t) => {
    const { aws, worker } = await begin(t, many(700), { rate: 500 });
    enqueue(aws, 'one');
    let release;
    const held = new Promise((resolve) => (release = resolve));
    let stuck;
    const isStuck = new Promise((resolve) => (stuck = resolve));
    let token;
    aws.before = ({ operation, input }) => {
      if (operation !== 'PutItem') return undefined;
      if (aws.count('PutItem') === 2) token = input.Item.token.S;
      if (input.Item.token.S !== token) return undefined;
      stuck();
      return held; // its checkpoint is under way, while its messages come back
    };
    const first = worker().invoke(aws.receive());
    await isStuck;
    aws.pass(20);
    const second = aws.receive();
    const { returned } = await worker().invoke(second);
    aws.settle(second, returned.batchItemFailures);
    release();
    assert.match((await first).thrown, /another invocation goes on/);
    assert.equal(aws.queue.length, 0);
    assert.equal(assertHeard(aws, ['one']), 500);
  });

  test('out of time, it hands the rest back at once, and nobody hears a message twice', async (t) => {
    const { aws, worker } = await begin(t, many(300));
    const texts = ['one', 'two', 'three'];
    enqueue(aws, ...texts);
    aws.before = ({ operation }) => (operation === 'Post' ? new Promise((done) => setTimeout(done, 100)) : undefined);
    const lambda = worker();
    const batch = aws.receive();
    const { returned } = await lambda.invoke(batch, { time: 1_000 });
    assert.equal(returned.batchItemFailures.length, 3);
    assert.ok(aws.queue.every(({ hidden }) => hidden === 0));
    aws.before = () => undefined;
    await drain(aws, lambda);
    assert.equal(assertHeard(aws, texts), 0);
  });

  test('however many are mute, whoever answers hears everything in order, and the mute nothing twice', async (t) => {
    const well = many(300, 'well');
    const { aws, worker } = await begin(t, [...many(100, 'mute'), ...many(10, 'deaf'), ...well]);
    aws.before = ({ connectionId = '' }) => {
      if (connectionId.startsWith('mute')) return never();
      return connectionId.startsWith('deaf') ? { after: 'never' } : undefined;
    };
    const lambda = worker();
    enqueue(aws, 'one', 'two', 'three');
    const batch = aws.receive();
    const { returned, stdout } = await lambda.invoke(batch, { time: 30_000 });
    aws.settle(batch, returned.batchItemFailures);
    assert.equal(aws.queue.length, 0);
    assert.equal(assertHeard(aws, ['one', 'two', 'three'], well), 0);
    for (const id of many(10, 'deaf')) assert.deepEqual(aws.received.get(id), ['one', 'two']);
    const [{ sent, gone, failed }] = stdout;
    assert.deepEqual({ sent, gone, failed }, { sent: 900, gone: 0, failed: 110 * 3 });
    // In the next batch they come last.
    const before = aws.calls.length;
    enqueue(aws, 'four', 'five');
    await drain(aws, lambda);
    const posts = aws.calls.slice(before).filter(({ operation }) => operation === 'Post');
    assert.ok(posts.slice(0, 250).every(({ connectionId }) => connectionId.startsWith('well')));
    assert.equal(posts.length, 2 * 300 + 110, 'who was silent before is asked once');
  });

  test('killed with silent receivers set aside, it still owes them the rest', async (t) => {
    const { aws, worker } = await begin(t, [...many(5, 'slow'), ...many(1_200)]);
    enqueue(aws, 'one', 'two');
    // Their first answers are lost, with the copies delivered; later they are well.
    aws.before = ({ connectionId = '', text }) => (connectionId.startsWith('slow') && text === 'one' ? { after: 'never' } : undefined);
    await die(aws, worker(), 1_500);
    await drain(aws, worker());
    assertHeard(aws, ['one', 'two']);
    for (const id of many(5, 'slow')) assert.deepEqual(aws.received.get(id), ['one', 'two']);
  });

  test('a quota that is exceeded costs time, and nobody the message', async (t) => {
    const { aws, worker } = await begin(t, many(500));
    enqueue(aws, 'one', 'two');
    let posts = 0;
    aws.before = ({ operation }) => (operation === 'Post' && posts++ % 3 !== 0 && posts < 1_000 ? 429 : undefined);
    await drain(aws, worker(), { time: 60_000 });
    assert.equal(assertHeard(aws, ['one', 'two']), 0);
  });

  const REFUSALS = [403, 413, 429, 500, 503];
  test('who is refused for ever is given up, and stops nobody else; who is gone is removed', async (t) => {
    const { aws, worker } = await begin(t, [...many(10), ...REFUSALS.map(String), 'gone', 'young']);
    aws.received.delete('gone');
    aws.received.delete('young');
    aws.connect('young', { age: 1 });
    aws.received.delete('young');
    aws.before = ({ connectionId }) => REFUSALS.find((status) => String(status) === connectionId);
    enqueue(aws, 'one', 'two');
    const batch = aws.receive();
    const { returned, stdout } = await worker().invoke(batch, { time: 60_000 });
    assert.deepEqual(returned, { batchItemFailures: [] });
    assertHeard(aws, ['one', 'two'], many(10));
    const [{ sent, gone, failed }] = stdout;
    assert.deepEqual({ sent, gone, failed }, { sent: 20, gone: 4, failed: 10 });
    assert.ok(!aws.table.has('gone'));
    assert.ok(aws.table.has('young'));
  });

  test('what waited for five minutes goes back until the queue moves it away, and holds up nobody', async (t) => {
    const { aws, worker } = await begin(t, many(10));
    enqueue(aws, 'old', 'new');
    aws.queue[0].record.attributes.SentTimestamp = String(Date.now() - 301_000);
    const batch = aws.receive();
    const { returned } = await worker().invoke(batch);
    aws.settle(batch, returned.batchItemFailures);
    assert.deepEqual(aws.queue.map(({ record, hidden }) => [JSON.parse(record.body).text, hidden]), [['old', 0]]);
    assertHeard(aws, ['new']);
  });

  test('what the queue is about to move to the dead letters is told once, by its id', async (t) => {
    const { aws, worker } = await begin(t, many(10));
    enqueue(aws, 'old');
    aws.queue[0].record.attributes.SentTimestamp = String(Date.now() - 301_000);
    const told = [];
    for (let i = 0; i < 15; i++) {
      const batch = aws.receive();
      const { returned, stderr } = await worker().invoke(batch);
      aws.settle(batch, returned.batchItemFailures);
      told.push(stderr);
    }
    const id = aws.queue[0].record.messageId;
    const last = { error: 'messages could not be delivered, and go to the dead letters', messages: [{ id, waitedTooLong: true }] };
    assert.deepEqual(told, [...Array(14).fill([]), [last]]);
  });

  test('what was begun in time is brought to its end, however old it is by then', async (t) => {
    const { aws, worker } = await begin(t, many(1_200));
    enqueue(aws, 'one');
    await die(aws, worker(), 1_100);
    aws.queue[0].record.attributes.SentTimestamp = String(Date.now() - 301_000);
    await drain(aws, worker());
    assertHeard(aws, ['one']);
  });

  test('a worker that cannot say any more that the messages are its own stops', async (t) => {
    const { aws, worker } = await begin(t, many(10));
    enqueue(aws, 'one');
    const batch = aws.receive();
    aws.pass(300);
    const { thrown } = await worker().invoke(batch);
    assert.match(thrown, /not ours any more: ReceiptHandleIsInvalid/);
    assert.equal(aws.count('Post'), 0);
  });

  for (const [refusals, aside] of [[3, []], [4, [['bad', 0]]]]) {
    test(`after ${refusals} refusals set aside are ${aside.length}`, async (t) => {
      const { aws, worker } = await begin(t, [...many(5), 'bad']);
      enqueue(aws, 'one');
      let left = refusals;
      aws.before = ({ connectionId }) => (connectionId === 'bad' && left-- > 0 ? 500 : undefined);
      await drain(aws, worker());
      assertHeard(aws, ['one']);
      const legs = aws.calls.filter(({ operation }) => operation === 'PutItem').map(({ input }) => JSON.parse(input.Item.legs.S));
      assert.deepEqual(legs.flat().flatMap((leg) => leg.aside), aside);
    });
  }

  test('a worker whose messages are handed to somebody else meanwhile stops when it says again that they are its own', async (t) => {
    const { aws, worker } = await begin(t, many(37), { rate: 5 });
    enqueue(aws, 'one');
    aws.before = ({ operation }) => void (operation === 'Post' && aws.pass(300));
    const { thrown } = await worker().invoke(aws.receive(), { time: 9_900 });
    assert.match(thrown, /not ours any more/);
    assert.ok(aws.count('Post') < 37);
  });

  test('a worker that fails ends what is under way before it returns, and counts it', async (t) => {
    const { aws, worker } = await begin(t, ['mute', ...many(5)]);
    enqueue(aws, 'one');
    aws.before = ({ operation, connectionId }) => {
      if (connectionId === 'mute') return never();
      return operation === 'PutItem' && aws.count('PutItem') === 2 ? 400 : undefined;
    };
    const { thrown, stdout } = await worker().invoke(aws.receive());
    assert.match(thrown, /HTTP 400/);
    const [{ sent, gone, failed }] = stdout;
    assert.deepEqual({ sent, gone, failed }, { sent: 5, gone: 0, failed: 1 });
  });

  test('the checkpoint is never taken for a connection', async (t) => {
    const { aws, worker } = await begin(t, many(5));
    enqueue(aws, 'one');
    await drain(aws, worker());
    enqueue(aws, 'two');
    await drain(aws, worker());
    const direct = new Environment(t, aws);
    await direct.say('id-0', 'three');
    assertHeard(aws, ['one', 'two', 'three']);
    assert.ok(aws.table.has('#broadcast'));
    assert.equal(aws.calls.filter(({ connectionId }) => connectionId === '#broadcast').length, 0);
  });
});

test('the pace is the one that is set, and falls when many are refused', () => {
  Object.assign(pace, { rate: 1_000, room: 0, filled: 0, looked: 0, posts: 0, refused: 0 });
  const posts = (from, to) => {
    let taken = 0;
    for (let now = from; now < to; now++) {
      while (pace.take(now)) taken++;
      pace.look(now);
    }
    return taken;
  };
  process.env.DELIVERY_RATE = '1000';
  assert.ok(Math.abs(posts(0, 2_000) - 2_000) < 20);
  pace.refused = 50;
  posts(2_000, 2_300);
  assert.ok(pace.rate < 800, `${pace.rate}`);
  posts(2_300, 6_000);
  assert.equal(pace.rate, 1_000);
  delete process.env.DELIVERY_RATE;
});

test('the pace falls only where more than a few are refused', () => {
  process.env.DELIVERY_RATE = '1000';
  for (const [refused, rate] of [[4, 105], [5, 70]]) {
    Object.assign(pace, { rate: 100, looked: 0, posts: 10, refused });
    pace.look(300);
    assert.equal(pace.rate, rate);
  }
  delete process.env.DELIVERY_RATE;
});

test('a checkpoint that is written again, because the answer was lost, meets itself', async (t) => {
  const aws = await StandIn.start(t);
  const checkpoint = await Checkpoint.read();
  checkpoint.begin(['a']);
  for (const cursor of ['x', 'y']) {
    let isLost = false;
    aws.before = () => (isLost ? undefined : ((isLost = true), { after: 'never' }));
    await checkpoint.save({ cursor });
  }
  assert.equal(aws.count('PutItem'), 4);
});

test('what of the pace was not used for a while is lost', () => {
  process.env.DELIVERY_RATE = '1000';
  Object.assign(pace, { rate: 1_000, room: 0, filled: 0, looked: 0, posts: 0, refused: 0 });
  let taken = 0;
  while (pace.take(10_000)) taken++;
  assert.equal(taken, 50);
  delete process.env.DELIVERY_RATE;
});

test('the first post waits for its turn like any other', () => {
  process.env.DELIVERY_RATE = '10';
  Object.assign(pace, { rate: 10, room: 0, filled: 0, looked: 0, posts: 0, refused: 0 });
  assert.deepEqual([0, 99, 101, 101, 202].map((now) => pace.take(now)), [false, false, true, false, true]);
  delete process.env.DELIVERY_RATE;
});

test('legs are told apart by ids alone', async (t) => {
  const aws = await StandIn.start(t);
  const checkpoint = await Checkpoint.read();
  checkpoint.begin(['a', 'b', 'c']);
  await checkpoint.save({ cursor: 'x', aside: [['p', 1], ['q', 2]] });

  const next = await Checkpoint.read();
  const leg = next.begin(['b']);
  assert.deepEqual([leg.ids, leg.cursor, leg.aside], [['b'], 'x', [['p', 0]]]);
  await next.save({ cursor: 'y', aside: [], done: true });
  await assert.rejects(checkpoint.save(), /another invocation/);

  const last = await Checkpoint.read();
  assert.ok(last.begin(['b', 'c']).done);
  const rest = last.begin(['c', 'd']);
  assert.deepEqual([rest.ids, rest.cursor, rest.aside, rest.done], [['c'], 'x', [['p', 0], ['q', 0]], undefined]);
  assert.deepEqual(last.begin(['d']), { ids: ['d'], aside: [] });
  assert.equal(aws.count('PutItem'), 3);
});
