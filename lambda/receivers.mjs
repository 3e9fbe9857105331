// Who is connected: the connection table, page by page, the next page read while one is in use, so that
// memory stays flat and the first receiver does not wait for the last row.
//
// A table of more than one page is read in segments, beginning at another one each time: should the time
// not suffice for everybody, it is not always the same ones who miss a message.

import { dynamodb } from './aws.mjs';

// Chosen by measurement, docs/performance-broadcast.md.
const PAGE_ROWS = 1_000;
const SEGMENTS = 8;

// Where the next reading of this environment begins: anywhere, then where the last one had to stop.
let begin;

/** The id of a row. */
export const idOf = (row) => row.connectionId.S;

export class Receivers {
  #until;
  #pages = this.#read();
  #coming;
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
    if (this.#limit) begin = this.#segment ?? begin;
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
    const first = await this.#scan({});
    yield { rows: first.Items };
    if (!first.LastEvaluatedKey) return;
    const known = new Set(first.Items.map(idOf));
    begin ??= Math.floor(Math.random() * SEGMENTS);
    const start = begin;
    for (let i = 0; i < SEGMENTS; i++) {
      const segment = (start + i) % SEGMENTS;
      let from;
      do {
        const page = await this.#scan({ Segment: segment, TotalSegments: SEGMENTS, ExclusiveStartKey: from });
        yield { segment, rows: page.Items.filter((row) => !known.has(idOf(row))) };
        from = page.LastEvaluatedKey;
      } while (from);
    }
  }

  // Consistent, because who connected just before the message must get it (H10). That doubles the
  // price of the read, which is small: some 15 read units for a thousand rows.
  #scan(place) {
    const input = {
      TableName: process.env.TABLE_NAME,
      ProjectionExpression: 'connectionId, connectedAt',
      ConsistentRead: true,
      Limit: this.#limit,
      ...place,
    };
    return dynamodb('Scan', input, this.#until);
  }
}
