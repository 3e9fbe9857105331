// sendmessage: gives everyone who is connected a copy of `data`, or, where there is a queue, hands it to the one
// that does (broadcast.mjs).
//
// Replies go through `@connections`, never through the returned value, which reaches nobody on AWS (H9).

import { connectionsEndpoint, payload, reasonOf, sqs } from './aws.mjs';
import { Delivery } from './delivery.mjs';
import { count } from './log.mjs';
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

  let text;
  try {
    text = textOf(event.body);
  } catch (error) {
    await tell(error.message);
    return { statusCode: 200 };
  }

  if (process.env.QUEUE_URL) {
    try {
      await enqueue(event.requestContext, context, text, lastCall);
    } catch (error) {
      await tell('the message could not be sent');
      throw error;
    }
    return { statusCode: 200 };
  }

  const receivers = new Receivers(deadline);
  const delivery = new Delivery(endpoint, payload(text), { lastCall, deadline });
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

/** Puts the message behind those that were sent before. Sent again, for want of an answer, it is one message. */
async function enqueue({ apiId, domainName, stage, requestId }, { awsRequestId }, text, until) {
  const body = JSON.stringify({ apiId, domainName, stage, text });
  await sqs('SendMessage', {
    QueueUrl: process.env.QUEUE_URL,
    // The two characters that a queue refuses and JSON lets through (Q5).
    MessageBody: body.replaceAll('\ufffe', '\\ufffe').replaceAll('\uffff', '\\uffff'),
    MessageGroupId: 'chat', // one group, so one order for everybody
    MessageDeduplicationId: requestId ?? awsRequestId,
  }, until);
}

/** What everyone is to receive; throws what the sender is to be told instead. */
function textOf(body) {
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
  const largest = Number(process.env.MESSAGE_SIZE) || MESSAGE_SIZE;
  if (Buffer.byteLength(text) > largest) throw new Error(`\`data\` is larger than ${largest} bytes`);
  return text;
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
