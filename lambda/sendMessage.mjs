// sendmessage: gives everyone who is connected a copy of `data`.
//
// Replies go through `@connections`, never through the returned value, which reaches nobody on AWS (H9).

import { connectionsEndpoint, payload, reasonOf } from './aws.mjs';
import { Delivery } from './delivery.mjs';
import { Receivers } from './receivers.mjs';

// The largest message that is taken where none is set, in bytes. `@connections` itself takes 128 KB (H1).
const MESSAGE_SIZE = 32 * 1024;

// Kept back of the invocation's time: for the last posts to be answered, and for telling the sender and
// the log what could not be done. Milliseconds, and at most this share of the time.
const LAST_ANSWERS = 1_000;
const LAST_WORDS = 1_000;
const SHARE = 0.2;

export async function handler(event, context) {
  const begun = performance.now();
  const time = context.getRemainingTimeInMillis();
  const end = begun + time - Math.min(LAST_WORDS, time * SHARE) / 4;
  const deadline = begun + time - Math.min(LAST_WORDS, time * SHARE);
  const lastCall = deadline - Math.min(LAST_ANSWERS, time * SHARE);
  const endpoint = connectionsEndpoint(event.requestContext);
  const tell = (text) => reply(endpoint, event.requestContext.connectionId, text, end);

  let message;
  try {
    message = messageOf(event.body);
  } catch (error) {
    await tell(error.message);
    return { statusCode: 200 };
  }

  const receivers = new Receivers(deadline);
  const delivery = new Delivery(endpoint, message, { lastCall, deadline });
  let broken;
  try {
    await delivery.run(() => (performance.now() < lastCall ? receivers.next() : restOf(receivers)));
  } catch (error) {
    broken = error;
  }
  const { sent, gone, failed, unanswered, left } = delivery;
  count({ sent, gone, failed, left, ms: Math.round(performance.now() - begun) });
  const missed = failed + left;
  if (missed > 0 || broken) {
    const reason = broken && reasonOf(broken);
    console.error(JSON.stringify({ error: 'not everyone was reached', sent, gone, failed, unanswered, left, reason }));
    const told = [];
    if (missed > 0) told.push(`${missed} of ${sent + missed} receivers missed the message`);
    if (broken) told.push('the list of receivers could not be read to its end');
    await tell(`not everyone was reached: ${told.join(', and ')}`);
  }
  // The sum is what the function's error metric is for; one bad receiver is not.
  if (broken) throw broken;
  if (left > 0) throw new Error(`out of time: ${left} receivers were not reached`);
  if (failed > 0 && sent === 0) throw new Error('no receiver could be reached');
  return { statusCode: 200 };
}

/** Those for whom there is no time left, as rows that nobody sends: they are counted. */
async function restOf(receivers) {
  const count = await receivers.countRest();
  return count > 0 ? { length: count } : undefined;
}

/** The payload that everyone is to receive; throws what the sender is to be told instead. */
function messageOf(body) {
  let frame;
  try {
    frame = JSON.parse(body);
  } catch {
    throw new Error('the message is not JSON');
  }
  if (frame === null || typeof frame !== 'object' || !Object.hasOwn(frame, 'data')) {
    throw new Error('the message has no `data`');
  }
  const text = typeof frame.data === 'string' ? frame.data : jsonText(frame.data);
  if (isOfService(text)) throw new Error('`data` looks like a frame of the service');
  const message = payload(text);
  const largest = Number(process.env.MESSAGE_SIZE) || MESSAGE_SIZE;
  if (message.body.length > largest) throw new Error(`\`data\` is larger than ${largest} bytes`);
  return message;
}

/** Whether clients could take `text` for something that the chat itself, or API Gateway, tells them (H7, H8). */
function isOfService(text) {
  if (!/^\s*\{/.test(text)) return false;
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return false;
  }
  const has = (...keys) => keys.every((key) => Object.hasOwn(frame, key));
  return has('chatctl') || has('message', 'connectionId', 'requestId') || has('errorMessage', 'errorType');
}

function jsonText(value) {
  try {
    return JSON.stringify(value);
  } catch {
    throw new Error('`data` is nested too deeply'); // the one thing that was parsed and cannot be written
  }
}

async function reply(endpoint, connectionId, text, end) {
  const frame = payload(JSON.stringify({ chatctl: { error: text } }));
  const rows = [[{ connectionId: { S: connectionId }, connectedAt: { N: String(Math.floor(Date.now() / 1000)) } }]];
  const delivery = new Delivery(endpoint, frame, { lastCall: end, deadline: end });
  await delivery.run(async () => rows.pop());
  if (delivery.sent === 0) console.error(JSON.stringify({ error: 'the sender could not be told', connectionId }));
}

/** One line a message, of which CloudWatch makes metrics. Straight to stdout: `console` would put words before it. */
function count(numbers) {
  const Metrics = Object.keys(numbers).map((Name) => ({ Name, Unit: Name === 'ms' ? 'Milliseconds' : 'Count' }));
  const FunctionName = process.env.AWS_LAMBDA_FUNCTION_NAME ?? 'sendMessage';
  const CloudWatchMetrics = [{ Namespace: 'chatctl', Dimensions: [['FunctionName']], Metrics }];
  const line = { _aws: { Timestamp: Date.now(), CloudWatchMetrics }, FunctionName, ...numbers };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
