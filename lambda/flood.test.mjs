// One client floods the chat. The stage lets through what `message-rate` and `message-burst` say, and the account takes
// so many posts a second, in the proportion that they have by default with 400 people: the messages of a second take four
// fifths of the quota. More functions may run at once than the quota can serve in their time, which is shorter too.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { StandIn } from './testing/aws.js';
import { Environment } from './testing/environment.js';

const MESSAGES = { rate: 4, burst: 5 };
const QUOTA = { rate: 40, burst: 20 };
const PEOPLE = 8;
const ENVIRONMENTS = 24;
const TIME = 3_500; // milliseconds of each invocation

/** Whether one more fits, by the algorithm that API Gateway names. */
function bucket({ rate, burst }) {
  let [tokens, at] = [burst, performance.now()];
  return () => {
    const now = performance.now();
    tokens = Math.min(burst, tokens + ((now - at) / 1000) * rate);
    at = now;
    if (tokens < 1) return false;
    tokens--;
    return true;
  };
}

test('a flood of one client leaves the message of another delivered to all', async (t) => {
  const aws = await StandIn.serve(t);
  const everybody = Array.from({ length: PEOPLE }, (_, i) => aws.connect(`id-${i}`));
  const [flooder, innocent] = everybody;
  const mayPost = bucket(QUOTA);
  let refused = 0;
  aws.before = ({ operation }) => (operation === 'Post' && !mayPost() ? (refused++, 429) : undefined);

  const mayPass = bucket(MESSAGES);
  const free = Array.from({ length: ENVIRONMENTS }, () => Promise.resolve(new Environment(t, aws)));
  const accepted = [];
  const say = (from, text) => {
    if (!mayPass()) return false; // and its sender is told, by API Gateway
    const run = free.shift().then(async (lambda) => [lambda, await lambda.say(from, text, { time: TIME })]);
    free.push(run.then(([lambda]) => lambda));
    accepted.push({ text, ended: run.then(([, ended]) => ended) });
    return true;
  };

  for (let i = 0; i < 200; i++) say(flooder, `flood ${i}`);
  let tries = 0;
  while (!say(innocent, 'may I say something?')) {
    tries++;
    for (let i = 0; i < 10; i++) say(flooder, `more flood ${tries} ${i}`);
    await sleep(20 + 20 * Math.random());
  }
  assert.ok(tries > 0, 'the flood came first');
  for (const { text, ended } of accepted) {
    const { returned, thrown } = await ended;
    assert.deepEqual([thrown, returned], [undefined, { statusCode: 200 }], text);
    for (const id of everybody) {
      assert.equal(aws.received.get(id).filter((heard) => heard === text).length, 1, `${text} at ${id}`);
    }
  }
  t.diagnostic(`${accepted.length} messages of ${201 + 11 * tries} passed, ${refused} posts were refused at first`);
});
