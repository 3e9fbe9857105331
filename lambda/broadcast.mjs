// Takes the messages that sendMessage has put into the queue to everyone who is connected: a batch at a time, in
// order, page by page of the connection table.
//
// An invocation may die at any moment. So it holds its messages for seconds only, again and again, and writes down
// after each page how far it is; the next one goes on there. What was not sent for `STALE`, and what is refused
// `maxReceiveCount` times, the queue moves to the dead letters.

import { connectionsEndpoint, payload, sqs } from './aws.mjs';
import { Checkpoint } from './checkpoint.mjs';
import { count } from './log.mjs';
import { Paced, pace } from './paced.mjs';
import { scan } from './receivers.mjs';

// For so long the messages stay ours unless we say so again: what passes before somebody goes on in our place.
// Seconds; and how often we say so, in milliseconds.
const HOLD = 20;
const HEARTBEAT = 5_000;

// Who waits in the queue for longer than this will not be sent any more. Milliseconds.
const STALE = 5 * 60_000;

// What is handed out so often, and not done, the queue moves to the dead letters (`maxReceiveCount`).
const MOST_RECEIVES = 15;

// A page is what takes about this many seconds at the present rate, and at most so many rows: if the invocation
// dies, some of them hear the batch twice.
const PAGE_SECONDS = 1;
const MOST_ROWS = 1_000;

// So many may be set aside before they get their second round; each takes some 30 bytes of the checkpoint.
const MOST_ASIDE = 2_000;

// Kept back of the invocation's time: for the last answers, and for handing the rest back. Milliseconds, and at
// most this share of the time.
const LAST_WORDS = 10_000;
const SHARE = 0.2;

export async function handler({ Records }, context) {
  const begun = performance.now();
  const time = context.getRemainingTimeInMillis();
  const hold = new Hold(Records);
  await hold.for(HOLD); // first of all: a mapping wants a queue that hides for as long as the function may take (Q1)
  const checkpoint = await Checkpoint.read();

  const stale = Records.filter((record) => isStale(record) && !checkpoint.knows(record.messageId));
  const records = Records.filter((record) => !stale.includes(record));
  let done = [];
  if (records.length > 0) {
    const leg = checkpoint.begin(records.map((record) => record.messageId));
    done = leg.ids;
    if (!leg.done) {
      const messages = records.slice(0, leg.ids.length).map(messageOf);
      const delivery = new Paced(messages, leg.aside);
      const timer = setTimeout(() => delivery.stop(), time - (performance.now() - begun) - Math.min(LAST_WORDS, time * SHARE));
      const heartbeat = setInterval(() => hold.for(HOLD).catch(() => delivery.stop()), HEARTBEAT);
      try {
        await checkpoint.save(); // whoever had these messages before us cannot go on any more
        if (!(await broadcast(delivery, checkpoint, leg))) done = [];
      } finally {
        clearTimeout(timer);
        clearInterval(heartbeat);
        await delivery.end();
        const { sent, gone, failed } = delivery;
        count({ sent, gone, failed, ms: Math.round(performance.now() - begun) });
      }
    }
  }
  const back = Records.filter((record) => !done.includes(record.messageId));
  tellOfTheLost(back);
  if (back.length > 0) await new Hold(back).for(0);
  return { batchItemFailures: back.map(({ messageId }) => ({ itemIdentifier: messageId })) };
}

/** From the cursor of `leg` to the end of the table; false when it had to stop before. */
async function broadcast(delivery, checkpoint, leg) {
  const limit = () => Math.ceil(Math.min(MOST_ROWS, Math.max(10, ((pace.rate ?? pace.most) * PAGE_SECONDS) / leg.ids.length)));
  const page = (from) => {
    const coming = scan({ Limit: limit(), ExclusiveStartKey: from && { connectionId: { S: from } } });
    coming.catch(() => {}); // it is looked at when its rows are needed, which may be later
    return coming;
  };
  let coming = leg.scanned ? undefined : page(leg.cursor);
  while (coming && !delivery.stopped) {
    const { rows, next } = await coming;
    const cursor = next?.connectionId.S;
    coming = next && page(cursor);
    await delivery.firstRound(rows);
    await checkpoint.save({ cursor, scanned: !next, aside: delivery.aside });
    if (delivery.aside.length > MOST_ASIDE) await delivery.secondRound();
  }
  if (!delivery.stopped) await delivery.secondRound();
  const done = !delivery.stopped;
  await checkpoint.save({ aside: delivery.aside, done });
  return done;
}

/** Those that nobody will be handed again. One whose worker dies each time cannot be told of. */
function tellOfTheLost(back) {
  const lost = back.filter(({ attributes }) => Number(attributes.ApproximateReceiveCount) >= MOST_RECEIVES);
  if (lost.length === 0) return;
  const messages = lost.map((record) => ({ id: record.messageId, waitedTooLong: isStale(record) }));
  console.error(JSON.stringify({ error: 'messages could not be delivered, and go to the dead letters', messages }));
}

function isStale({ attributes }) {
  return Date.now() - Number(attributes.SentTimestamp) > STALE;
}

function messageOf({ body }) {
  const { text, ...requestContext } = JSON.parse(body);
  return { endpoint: connectionsEndpoint(requestContext), payload: payload(text) };
}

/** The messages of an invocation, which stay hidden from others for as long as we say. */
class Hold {
  #records;

  constructor(records) {
    this.#records = records;
  }

  /** Hides them for `seconds` from now. */
  async for(seconds) {
    const Entries = this.#records.map(({ receiptHandle }, i) => ({ Id: String(i), ReceiptHandle: receiptHandle, VisibilityTimeout: seconds }));
    const { Failed = [] } = await sqs('ChangeMessageVisibilityBatch', { QueueUrl: process.env.QUEUE_URL, Entries });
    if (Failed.length > 0) throw new Error(`${Failed.length} messages are not ours any more: ${Failed[0].Code}`);
  }
}
