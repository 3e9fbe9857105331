// One message to many connections, within a time: who got it, who did not, and nothing under way at the end.
//
// A copy is sent again only where it surely was not delivered: refused by the service, or never written to
// the network. One that was written and not answered may have arrived (H15).

import { clockCorrected, postToConnection } from './aws.mjs';
import { Complaints, lookAfter } from './posts.mjs';
import { YOUNG, forget, idOf } from './receivers.mjs';

// Chosen by measurement, docs/performance-broadcast.md: posts under way at once; and, because each is
// a TLS handshake at first, which costs the CPU of a dozen posts, only one for every so many receivers.
const CONCURRENCY = 100;
const RECEIVERS_PER_CONNECTION = 5;
const MIN_CONCURRENCY = 10;

// A receiver that lets a post wait for longer than `SILENT` makes room for others, up to `MOST_SILENT` at
// once (Lambda allows 1,024 open files); after `GIVE_UP` its answer is not awaited any longer. Milliseconds.
const SILENT = 300;
const GIVE_UP = 1_500;
const MOST_SILENT = 500;

// What was refused is tried again after this time, give or take a half: for ever while many are refused,
// because then it is the account's quota, but for `PERSISTENCE` where it is one receiver's own trouble.
// Milliseconds.
const RETRY_AFTER = 200;
const PERSISTENCE = 5_000;
const FEW = 5;

// How often one is tried whose 410 proves nothing, because it may not be live yet.
const TRIES_OF_YOUNG = 3;

const TICK = 25;

// How many posts may be under way: fewer when the service refuses them for their number, slowly more when
// it does not, so that messages of several environments share a quota. It outlasts the message.
const pace = { limit: CONCURRENCY, cut: 0 };

// Those of this environment's messages who gave no answer: they come last in the next one.
const silent = new Set();
const MOST_REMEMBERED = 10_000;

export class Delivery {
  sent = 0;
  gone = 0;
  failed = 0; // refused for good, or not answered
  unanswered = 0; // of those that failed: they may have got it
  left = 0; // not reached for lack of time

  #endpoint;
  #message;
  #lastCall;
  #deadline;
  #most = CONCURRENCY;
  #rows = []; // of the present page, still to be sent
  #aside = []; // who was silent before
  #again = []; // {row, tries, since, due}: surely not delivered
  #posts = new Set(); // under way, oldest first
  #busy = 0; // what counts against the pace: posts that are not silent, removals
  #parked = 0;
  #next;
  #turning = false;
  #broken;
  #closed = false;
  #over;
  #complaints = new Complaints();

  /**
   * `message` is a `payload`. After `lastCall` no post begins, at `deadline` those that are still under way
   * are given up; both are times of `performance.now()`.
   */
  constructor(endpoint, message, { lastCall, deadline }) {
    this.#endpoint = endpoint;
    this.#message = message;
    this.#lastCall = lastCall;
    this.#deadline = deadline;
  }

  /**
   * Sends to everyone of whom `next` tells: a function that resolves to the next rows of the table, and to
   * nothing after the last. Ends when all is done or the time is up; rejects, then too, when `next` did.
   */
  async run(next) {
    this.#next = next;
    await lookAfter(TICK, (now, isLate) => this.#look(now, isLate), (over) => {
      this.#over = over;
      this.#go();
    });
    for (const row of this.#aside) silent.delete(idOf(row)); // not put off for ever
    this.left += this.#rows.length + this.#aside.length + this.#again.length;
    if (this.#broken) throw this.#broken;
  }

  #go() {
    if (!this.#closed) {
      while (this.#busy < Math.min(this.#most, pace.limit) && this.#parked < MOST_SILENT && this.#take());
    }
    // When the time is up the rest is read as well, to be counted.
    if ((this.#closed || this.#rows.length === 0) && this.#next && !this.#turning) this.#turnPage();
    const toDo = this.#rows.length + this.#aside.length + this.#again.length;
    const waiting = this.#next || (!this.#closed && toDo > 0);
    if (this.#busy === 0 && this.#posts.size === 0 && !waiting) this.#over();
  }

  async #turnPage() {
    this.#turning = true;
    try {
      const rows = await this.#next();
      if (!rows) this.#next = undefined;
      else if (this.#closed) this.left += rows.length;
      else {
        // The first page tells how many connections are worth their handshake.
        if (this.#posts.size === 0 && this.sent === 0) {
          this.#most = Math.min(CONCURRENCY, Math.max(MIN_CONCURRENCY, Math.ceil(rows.length / RECEIVERS_PER_CONNECTION)));
        }
        this.#rows = rows;
      }
    } catch (error) {
      this.#broken = error; // what was read before is sent
      this.#next = undefined;
    }
    this.#turning = false;
    this.#go();
  }

  #take() {
    const now = performance.now();
    if (this.#again[0]?.due <= now) return this.#post(this.#again.shift(), now);
    for (let row; (row = this.#rows.pop()); ) {
      if (silent.size === 0 || !silent.has(idOf(row))) return this.#post({ row, tries: 0 }, now);
      this.#aside.push(row);
    }
    if (this.#next || this.#aside.length === 0) return false;
    return this.#post({ row: this.#aside.pop(), tries: 0 }, now);
  }

  #post({ row, tries, since }, now) {
    const exchange = postToConnection(this.#endpoint, idOf(row), this.#message);
    const post = { row, tries: tries + 1, since: since ?? now, begun: now, exchange, parked: false };
    this.#posts.add(post);
    this.#busy++;
    exchange.answer.then((answer) => this.#answered(post, answer));
    return true;
  }

  #answered(post, answer) {
    const { row, parked, exchange } = post;
    this.#posts.delete(post);
    if (parked) this.#parked--;
    const { status, error } = answer;
    let removal;
    if (!error && silent.size > 0) silent.delete(idOf(row));
    if (status < 300) {
      this.sent++;
      if (pace.limit < CONCURRENCY) pace.limit += 1 / pace.limit;
    } else if (status === 410) {
      removal = this.#missed(post);
    } else if (status === 429) {
      // One cut for all that were under way when it was too many.
      if (post.begun >= pace.cut) Object.assign(pace, { limit: Math.max(1, pace.limit * 0.7), cut: performance.now() });
      this.#repeat(post, answer, this.#again.length >= FEW);
    } else if (status === 500 || status === 503 || clockCorrected(exchange, answer) || (error && !exchange.written)) {
      this.#repeat(post, answer, false);
    } else {
      if (error) this.unanswered++;
      this.#fail(post, answer);
    }
    if (removal) removal.then(() => this.#free(parked));
    else this.#free(parked);
  }

  #free(parked) {
    if (!parked) this.#busy--;
    this.#go();
  }

  #repeat(post, answer, forEver) {
    const now = performance.now();
    if (!forEver && now - post.since > PERSISTENCE) return this.#fail(post, answer);
    const due = now + RETRY_AFTER * (0.5 + Math.random());
    this.#again.push({ row: post.row, tries: post.tries, since: post.since, due });
  }

  #fail({ row }, answer) {
    this.failed++;
    this.#complaints.notDelivered(idOf(row), answer);
  }

  /** A 410: not live yet, or gone. */
  #missed(post) {
    const connectedAt = Number(post.row.connectedAt?.N);
    const oldEnough = Math.floor(Date.now() / 1000) - YOUNG;
    // Of a row without a time nobody knows, so it is tried like a young one and removed like an old one (H12).
    if (!(connectedAt <= oldEnough) && post.tries < TRIES_OF_YOUNG && !this.#closed) {
      return void this.#repeat(post, undefined, true);
    }
    this.gone++;
    if (connectedAt > oldEnough || this.#closed) return undefined;
    return this.#forget(idOf(post.row), oldEnough);
  }

  async #forget(connectionId, oldEnough) {
    try {
      await forget(connectionId, oldEnough, this.#deadline);
    } catch (error) {
      this.#complaints.notRemoved(connectionId, error);
    }
  }

  #look(now, isLate) {
    if (now >= this.#lastCall) this.#closed = true;
    for (const post of this.#posts) {
      const age = now - post.begun;
      if (now >= this.#deadline) post.exchange.abandon('no answer in time');
      else if (isLate || age <= SILENT) break;
      else if (age > GIVE_UP) this.#giveUp(post);
      else if (!post.parked && post.exchange.written) {
        post.parked = true;
        this.#parked++;
        this.#busy--;
      }
    }
    this.#go();
  }

  #giveUp({ row, exchange }) {
    if (exchange.written && silent.size < MOST_REMEMBERED) silent.add(idOf(row));
    exchange.abandon(`no answer within ${GIVE_UP} ms`);
  }
}
