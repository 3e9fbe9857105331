// sendmessage: gives everyone who is connected a copy of `data`.
//
// The table is read page by page while the previous page is being sent, so memory stays flat and
// the first receiver does not wait for the last row. Replies go through `@connections`, never
// through the returned value, which reaches nobody on AWS (H9).

import { connectionsEndpoint, dynamodb, payload, postToConnection } from './aws.mjs';

// Chosen by measurement, docs/performance-broadcast.md: posts under way at once; and, because each is
// a TLS handshake at first, which costs the CPU of a dozen posts, only one for every so many receivers.
const CONCURRENCY = 100;
const RECEIVERS_PER_CONNECTION = 5;
const MIN_CONCURRENCY = 10;
const PAGE_ROWS = 1_000;

// The largest message that `@connections` takes (H1). Bytes.
const MAX_MESSAGE = 128 * 1024;

// A row is written before its connection is live, so for a while a 410 proves nothing (H3). Seconds.
const YOUNG = 30;

// Kept back of the invocation's time, to say cleanly that it was not enough. Milliseconds.
const RESERVE = 500;

// A failure that hits thousands of receivers is told this many times, then counted.
const MAX_LOG_LINES = 20;

export async function handler(event, context) {
  const endpoint = connectionsEndpoint(event.requestContext);
  let message;
  try {
    message = messageOf(event.body);
  } catch (error) {
    await reply(endpoint, event.requestContext.connectionId, error.message);
    return { statusCode: 200 };
  }
  const sending = new Broadcast(endpoint, message);
  await sending.run(context.getRemainingTimeInMillis() - RESERVE);
  return { statusCode: 200 };
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
  const message = payload(typeof frame.data === 'string' ? frame.data : jsonText(frame.data));
  if (message.body.length > MAX_MESSAGE) throw new Error(`\`data\` is larger than ${MAX_MESSAGE} bytes`);
  return message;
}

function jsonText(value) {
  try {
    return JSON.stringify(value);
  } catch {
    throw new Error('`data` is nested too deeply'); // the one thing that was parsed and cannot be written
  }
}

async function reply(endpoint, connectionId, text) {
  try {
    await postToConnection(endpoint, connectionId, payload(JSON.stringify({ error: text })));
  } catch (error) {
    log({ error: 'the sender could not be told', connectionId, reason: error.message });
  }
}

class Broadcast {
  #endpoint;
  #message;
  #logged = 0;
  #stopped = false;

  // Rows of the present page still to be sent, and the next page as it is being fetched.
  #rows = [];
  #coming;

  sent = 0;
  gone = 0;
  failed = 0;
  busy = 0;

  constructor(endpoint, message) {
    this.#endpoint = endpoint;
    this.#message = message;
  }

  /** Sends to everyone, or to as many as `budget` milliseconds allow; what was left is logged. */
  async run(budget) {
    let timer;
    const timeUp = new Promise((resolve) => (timer = setTimeout(resolve, budget)));
    const everyone = this.#sendToAll();
    everyone.catch(() => {}); // should it fail after the time is up
    try {
      await Promise.race([everyone, timeUp]);
    } finally {
      clearTimeout(timer);
      this.#stopped = true;
    }
    const { sent, gone, failed } = this;
    const left = this.#rows.length + this.busy;
    if (left > 0 || this.#coming) {
      log({ error: 'out of time', sent, gone, failed, left, unread: Boolean(this.#coming) });
    } else if (failed > 0) {
      log({ error: 'not everyone was reached', sent, gone, failed });
      if (sent === 0) throw new Error('no receiver could be reached');
    }
  }

  async #sendToAll() {
    this.#coming = scan();
    await this.#turnPage();
    const wanted = Math.ceil(this.#rows.length / RECEIVERS_PER_CONNECTION);
    const length = Math.min(CONCURRENCY, Math.max(MIN_CONCURRENCY, wanted));
    const ends = await Promise.allSettled(Array.from({ length }, () => this.#work()));
    const broken = ends.find(({ status }) => status === 'rejected');
    if (broken) throw broken.reason; // a page could not be read; what was read has been sent
  }

  async #work() {
    for (let row; (row = await this.#next()); ) {
      this.busy++;
      await this.#deliver(row);
      this.busy--;
    }
  }

  async #next() {
    while (this.#rows.length === 0 && this.#coming) await this.#turnPage();
    return this.#stopped ? undefined : this.#rows.pop();
  }

  async #turnPage() {
    const coming = this.#coming;
    const page = await coming;
    if (this.#coming !== coming) return; // another worker was faster
    this.#rows = page.Items;
    this.#coming = page.LastEvaluatedKey && scan(page.LastEvaluatedKey);
  }

  async #deliver({ connectionId: { S: connectionId }, connectedAt }) {
    try {
      await postToConnection(this.#endpoint, connectionId, this.#message);
      this.sent++;
    } catch (error) {
      if (error.status === 410) {
        this.gone++;
        await this.#forget(connectionId, Number(connectedAt?.N));
      } else {
        this.failed++;
        this.#complain({ error: 'a message was not delivered', connectionId, reason: error.message });
      }
    }
  }

  async #forget(connectionId, connectedAt) {
    const oldEnough = Math.floor(Date.now() / 1000) - YOUNG;
    if (connectedAt > oldEnough) return;
    try {
      await dynamodb('DeleteItem', {
        TableName: process.env.TABLE_NAME,
        Key: { connectionId: { S: connectionId } },
        ConditionExpression: 'connectedAt <= :oldEnough',
        ExpressionAttributeValues: { ':oldEnough': { N: String(oldEnough) } },
      });
    } catch (error) {
      if (error.code === 'ConditionalCheckFailedException') return;
      this.#complain({ error: 'a dead connection was not removed', connectionId, reason: error.message });
    }
  }

  #complain(line) {
    if (this.#logged++ < MAX_LOG_LINES) log(line);
  }
}

// Consistent, because who connected just before the message must get it (H10). That doubles the
// price of the read, which is small: some 15 read units for a thousand rows.
function scan(ExclusiveStartKey) {
  const page = dynamodb('Scan', {
    TableName: process.env.TABLE_NAME,
    ProjectionExpression: 'connectionId, connectedAt',
    ConsistentRead: true,
    Limit: PAGE_ROWS,
    ExclusiveStartKey,
  });
  page.catch(() => {}); // it is looked at when its rows are needed, which may be later
  return page;
}

function log(line) {
  console.error(JSON.stringify(line));
}
