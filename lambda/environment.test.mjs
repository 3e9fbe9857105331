// The promises of a broadcast, kept by a real process that is frozen and thawed, against an AWS that misbehaves.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StandIn } from './testing/aws.js';
import { Environment } from './testing/environment.js';

const never = () => new Promise(() => {});

async function begin(t, ...ids) {
  const aws = await StandIn.serve(t);
  for (const id of ids) aws.connect(id);
  return { aws, lambda: new Environment(t, aws) };
}

const many = (count, name = 'id') => Array.from({ length: count }, (_, i) => `${name}-${i}`);

/** Those who heard `text`, and how often. */
function heard(aws, text) {
  const all = [...aws.received].map(([id, texts]) => [id, texts.filter((each) => each === text).length]);
  return new Map(all.filter(([, times]) => times > 0));
}

function assertOnce(aws, text, ids) {
  assert.deepEqual([...heard(aws, text)].sort(), ids.map((id) => [id, 1]).sort());
}

const told = (aws, id) => aws.received.get(id).filter((text) => text.startsWith('{"chatctl":'));

/** Of a run: its line of metrics has everybody in exactly one place. */
function assertCounts({ stdout: [line, ...more] }, expected) {
  assert.deepEqual(more, []);
  const { sent, gone, failed, left } = line;
  assert.deepEqual({ sent, gone, failed, left }, expected);
}

/** A repeatable sequence of numbers in 0 … 1 (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('a broadcast of a real process', { concurrency: 4 }, () => {
  test('no copy is posted after the handler has returned, nor after a thaw', async (t) => {
    const ids = many(600);
    const { aws, lambda } = await begin(t, ...ids);
    aws.before = ({ text }) => (text === 'first' ? new Promise((done) => setTimeout(done, 200)) : undefined);
    const first = await lambda.say(ids[0], 'first', { time: 1_500 });
    assert.match(first.thrown, /out of time/);
    const before = aws.calls.length;
    const second = await lambda.say(ids[0], 'second');
    assertCounts(second, { sent: 600, gone: 0, failed: 0, left: 0 });

    assert.equal(aws.calls.slice(before).filter(({ text }) => text === 'first').length, 0);
    const [{ sent, failed, left }] = first.stdout;
    assert.equal(aws.calls.filter(({ text }) => text === 'first').length, sent + failed);
    assert.equal(sent + failed + left, 600);
    assert.ok([...heard(aws, 'first').values()].every((times) => times === 1));
    assertOnce(aws, 'second', ids);
  });

  for (const [death, clock] of [['silence', 60_000], ['a reset', 0]]) {
    test(`connections that died in ${death} during a freeze lose nobody`, async (t) => {
      const ids = many(200);
      const { aws, lambda } = await begin(t, ...ids);
      await lambda.say(ids[0], 'before');
      const dead = new Set(aws.sockets);
      assert.ok(dead.size > 1);
      for (const socket of dead) {
        socket.removeAllListeners('data');
        socket.on('data', () => void (death === 'a reset' && socket.resetAndDestroy()));
      }
      const { returned, stdout } = await lambda.say(ids[0], 'after', { clock });
      assert.deepEqual(returned, { statusCode: 200 });
      assertCounts({ stdout }, { sent: 200, gone: 0, failed: 0, left: 0 });
      assertOnce(aws, 'after', ids);
    });
  }

  test('answers that come late, or never, after the copy was delivered, make nobody hear it twice (H15)', async (t) => {
    const ids = many(60);
    const { aws, lambda } = await begin(t, ...ids);
    const after = [{ after: 'never' }, { after: 400 }, { after: 700 }, undefined];
    aws.before = ({ text, connectionId }) => (text === 'hello' && after[connectionId.split('-')[1] % 4]) || undefined;
    const run = await lambda.say(ids[0], 'hello');
    assertOnce(aws, 'hello', ids);
    assertCounts(run, { sent: 45, gone: 0, failed: 15, left: 0 });
    assert.match(told(aws, ids[0])[0], /15 of 60 receivers missed the message/);
  });

  test('however many are mute, whoever answers is reached', async (t) => {
    const among = async (mutes) => {
      const well = many(50, 'well');
      const { aws, lambda } = await begin(t, ...many(mutes, 'mute'), ...well);
      aws.before = ({ connectionId }) => (connectionId?.startsWith('mute') ? never() : undefined);
      // Not time enough for all of them to be waited for in turn.
      const run = await lambda.say(well[0], 'hello', { time: 7_000 });
      assertOnce(aws, 'hello', well);
      assertCounts(run, { sent: 50, gone: 0, failed: mutes, left: 0 });
      assert.match(told(aws, well[0])[0], new RegExp(`${mutes} of ${50 + mutes} receivers missed the message`));
      // They come last in the next message.
      await lambda.say(well[0], 'again');
      const posts = aws.calls.filter(({ text }) => text === 'again').map(({ connectionId }) => connectionId);
      assert.equal(posts.length, 50 + mutes);
      // Sockets may overtake each other, so no single place is certain.
      const place = (kind) => {
        const places = posts.flatMap((id, at) => (id.startsWith(kind) ? [at] : []));
        return places.reduce((sum, at) => sum + at, 0) / places.length;
      };
      assert.ok(place('well') < 0.75 * place('mute'), `${place('well')}, ${place('mute')}`);
    };
    await Promise.all([1, 300].map(among));
  });

  const REFUSALS = [429, 500, 503];
  test('who is refused for ever is given up, and stops nobody else', async (t) => {
    const { aws, lambda } = await begin(t, 'a', ...REFUSALS.map(String), 'c');
    aws.before = ({ connectionId }) => REFUSALS.find((status) => String(status) === connectionId);
    const run = await lambda.say('a', 'hello');
    assertOnce(aws, 'hello', ['a', 'c']);
    assertCounts(run, { sent: 2, gone: 0, failed: 3, left: 0 });
    assert.deepEqual([...aws.table.keys()], ['a', '429', '500', '503', 'c']);
  });

  test('a message is one line of metrics, in the embedded metric format', async (t) => {
    const { aws, lambda } = await begin(t, 'a', 'gone');
    aws.received.delete('gone');
    const { stdout, stderr } = await lambda.say('a', 'hello');
    assert.deepEqual(stderr, []);
    assert.equal(stdout.length, 1);
    const [{ _aws, FunctionName, ms, ...counts }] = stdout;
    assert.deepEqual(counts, { sent: 1, gone: 1, failed: 0, left: 0 });
    assert.equal(FunctionName, 'sendMessage');
    assert.ok(Number.isInteger(ms));
    assert.ok(Number.isInteger(_aws.Timestamp));
    const [{ Namespace, Dimensions, Metrics }] = _aws.CloudWatchMetrics;
    assert.equal(Namespace, 'chatctl');
    assert.deepEqual(Dimensions, [['FunctionName']]);
    assert.deepEqual(Metrics.map(({ Name }) => Name), ['sent', 'gone', 'failed', 'left', 'ms']);
  });

  test('keys of a young role, not known everywhere yet, are tried again', async (t) => {
    const { aws, lambda } = await begin(t, 'a', 'b');
    const scan = aws.Scan.bind(aws);
    let tries = 0;
    aws.Scan = (call) => (++tries === 1 ? [400, { __type: 'x#UnrecognizedClientException' }] : scan(call));
    assertCounts(await lambda.say('a', 'hello'), { sent: 2, gone: 0, failed: 0, left: 0 });
  });

  test('a wrong clock costs every post under way a try, and nobody the message', async (t) => {
    const { aws, lambda } = await begin(t, 'a', 'b');
    const skewed = ({ headers }) => {
      const [, y, mo, d, h, mi, s] = /^(....)(..)(..)T(..)(..)(..)Z$/.exec(headers['x-amz-date']);
      return Math.abs(Date.UTC(y, mo - 1, d, h, mi, s) - Date.now()) > 300_000;
    };
    aws.before = (call) => (call.operation === 'Post' && skewed(call) ? 403 : undefined);
    const run = await lambda.say('a', 'hello', { clock: -3_600_000 });
    assertCounts(run, { sent: 2, gone: 0, failed: 0, left: 0 });
    assertOnce(aws, 'hello', ['a', 'b']);
  });

  test('a 410 of someone who has just come is tried again', async (t) => {
    const { aws, lambda } = await begin(t, 'a');
    aws.connect('young', { age: 1 });
    let left = 2;
    aws.before = ({ connectionId }) => (connectionId === 'young' && left-- > 0 ? 410 : undefined);
    assertCounts(await lambda.say('a', 'hello'), { sent: 2, gone: 0, failed: 0, left: 0 });
    assertOnce(aws, 'hello', ['a', 'young']);
  });

  for (const seed of [1, 2, 3]) {
    test(`whatever happens to whom (seed ${seed}): each once, counted, and only the dead are removed`, async (t) => {
      const chance = random(seed);
      const fates = ['well', 'late', 'mute', 'deaf', 'forbidden', 'gone', 'throttled', 'broken'];
      const fateOf = new Map(many(200).map((id, i) => [id, i === 0 || chance() < 0.5 ? 'well' : fates[Math.floor(chance() * fates.length)]]));
      const { aws, lambda } = await begin(t, ...fateOf.keys());
      const of = (...wanted) => [...fateOf].filter(([, fate]) => wanted.includes(fate)).map(([id]) => id);
      for (const id of of('gone')) aws.received.delete(id);
      const refused = new Map();
      aws.before = ({ text, connectionId }) => {
        if (text !== 'hello') return undefined;
        const times = (refused.get(connectionId) ?? 0) + 1;
        refused.set(connectionId, times);
        const faults = {
          late: () => ({ after: Math.ceil(chance() * 700) }),
          mute: never,
          deaf: () => ({ after: 'never' }),
          forbidden: () => 403,
          throttled: () => (times < 3 ? 429 : undefined),
          broken: () => (times < 2 ? 500 : undefined),
        };
        return faults[fateOf.get(connectionId)]?.();
      };
      const run = await lambda.say('id-0', 'hello');
      assertOnce(aws, 'hello', of('well', 'late', 'deaf', 'throttled', 'broken'));
      const failed = of('mute', 'deaf', 'forbidden').length;
      const gone = of('gone').length;
      assertCounts(run, { sent: 200 - failed - gone, gone, failed, left: 0 });
      assert.equal(aws.table.size, 200 - gone);
      assert.deepEqual(of('gone').filter((id) => aws.table.has(id)), []);
      assert.match(told(aws, 'id-0')[0], new RegExp(`${failed} of ${200 - gone} receivers`));
    });
  }

  for (const count of [400, 2_000]) {
    test(`when time is short for ${count}, across messages no receiver is always the loser`, async (t) => {
      const ids = many(count);
      const { aws, lambda } = await begin(t, ...ids);
      aws.before = ({ text }) => (/^\d+$/.test(text) ? new Promise((done) => setTimeout(done, count === 400 ? 150 : 60)) : undefined);
      const unlucky = new Set(ids);
      for (let message = 0; unlucky.size > 0; message++) {
        assert.ok(message < 40, `${unlucky.size} missed every message`);
        const { stdout } = await lambda.say(ids[0], String(message), { time: count === 400 ? 700 : 1_200 });
        const [{ sent, failed, left }] = stdout;
        assert.equal(sent + failed + left, count);
        for (const id of heard(aws, String(message)).keys()) unlucky.delete(id);
      }
    });
  }
});
