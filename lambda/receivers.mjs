// Who is connected: the connection table, page by page, the next page read while one is in use, so that
// memory stays flat and the first receiver does not wait for the last row.
//
// A table of more than one page is read in segments, beginning at another one each time, and each page from
// anywhere: should the time not suffice for everybody, it is not always the same ones who miss a message.

import { dynamodb } from './aws.mjs';

// Chosen by measurement, docs/performance-broadcast.md.
const PAGE_ROWS = 1_000;
const SEGMENTS = 8;

// Where the next reading of this environment begins: anywhere, then where the last one had to stop.
let begin;

// Whether the last reading found more than a page; then the next one need not try.
let large = false;

/** The id of a row. */
export const idOf = (row) => row.connectionId.S;

/** The key of the one item that is no connection: how far a broadcast has come (checkpoint.mjs). */
export const CHECKPOINT = '#broadcast';

/** A row is written before its connection is live, so for a while a 410 proves nothing (H3). Seconds. */
export const YOUNG = 30;

/** Removes the row of a connection that is gone, unless it was written after `oldEnough`. */
export async function forget(connectionId, oldEnough, until) {
  const removal = {
    TableName: process.env.TABLE_NAME,
    Key: { connectionId: { S: connectionId } },
    ConditionExpression: 'attribute_not_exists(connectedAt) OR connectedAt <= :oldEnough',
    ExpressionAttributeValues: { ':oldEnough': { N: String(oldEnough) } },
  };
  try {
    await dynamodb('DeleteItem', removal, until);
  } catch (error) {
    if (error.code !== 'ConditionalCheckFailedException') throw error;
  }
}

/** One page of the table: its connections, and where the next one begins, if there is one. */
export async function scan(place, until) {
  const { Items, LastEvaluatedKey } = await dynamodb('Scan', {
    TableName: process.env.TABLE_NAME,
    ProjectionExpression: 'connectionId, connectedAt',
    // Who connected just before the message must get it (H10). That doubles the price of the read, which is
    // small: some 15 read units for a thousand rows.
    ConsistentRead: true,
    ...place,
  }, until);
  return { rows: Items.filter((row) => idOf(row) !== CHECKPOINT), next: LastEvaluatedKey };
}

export class Receivers {
  #until;
  #pages = this.#read();
  #coming;
  #start;
  #segment;
  #limit = PAGE_ROWS;

  /** Reads are tried again until `performance.now()` has reached `until`. */
  constructor(until) {
    this.#until = until;
    this.#fetch();
  }

  /** The rows of the next page, or nothing after the last one; rejects when it cannot be read. */
  async next() {
    const { value, done } = await this.#coming;
    if (done) return undefined;
    this.#segment = value.segment;
    this.#fetch();
    return value.rows;
  }

  /** How many rows are unread, for whom there is no time left; rejects when they cannot be counted either. */
  async countRest() {
    if (this.#limit && this.#segment !== undefined) {
      begin = this.#segment === this.#start ? (this.#start + 1) % SEGMENTS : this.#segment;
    }
    this.#limit = undefined; // as many as DynamoDB puts into one answer
    let count = 0;
    for (let rows; (rows = await this.next()); ) count += rows.length;
    return count;
  }

  #fetch() {
    this.#coming = this.#pages.next();
    this.#coming.catch(() => {}); // it is looked at when its rows are needed, which may be later
  }

  async *#read() {
    const known = new Set();
    if (!large) {
      const first = await this.#scan({});
      yield { rows: turned(first.rows) };
      if (!first.next) return;
      for (const row of first.rows) known.add(idOf(row));
    }
    let count = 0;
    begin ??= Math.floor(Math.random() * SEGMENTS);
    this.#start = begin;
    for (let i = 0; i < SEGMENTS; i++) {
      const segment = (this.#start + i) % SEGMENTS;
      let from;
      do {
        const page = await this.#scan({ Segment: segment, TotalSegments: SEGMENTS, ExclusiveStartKey: from });
        count += page.rows.length;
        large = count > PAGE_ROWS;
        yield { segment, rows: turned(page.rows.filter((row) => !known.has(idOf(row)))) };
        from = page.next;
      } while (from);
    }
  }

  #scan(place) {
    return scan({ Limit: this.#limit, ...place }, this.#until);
  }
}

function turned(rows) {
  const at = Math.floor(Math.random() * rows.length);
  return [...rows.slice(at), ...rows.slice(0, at)];
}
