// Several messages to many connections, in order, at a pace that leaves others room: who got which, and who is
// set aside for a second round. It has no deadline of its own; whoever calls it says when to stop.
//
// A copy is sent again only where it surely was not delivered, as in delivery.mjs.

import { clockCorrected, postToConnection } from './aws.mjs';
import { Complaints, lookAfter } from './posts.mjs';
import { YOUNG, forget, idOf } from './receivers.mjs';

// Posts a second, where none is set: half of what an account may do by default (H2).
const RATE = 5_000;

// The rate is looked at this often. It falls when more than a few are refused, and rises again slowly, never above
// what is set. Milliseconds.
const LOOK = 250;
const TOO_MANY = 0.02;
const FALL = 0.7;
const RISE = 1.05;
const SLOWEST = 10;

// Posts under way at once, one connection for so many receivers (docs/performance-broadcast.md).
const CONCURRENCY = 200;
const MIN_CONCURRENCY = 10;
const RECEIVERS_PER_CONNECTION = 5;

// A receiver that lets a post wait for longer than `SILENT` makes room for others; after `GIVE_UP` its answer is not
// awaited any longer. Milliseconds; and how many may be silent at once (Lambda allows 1,024 open files).
const SILENT = 300;
const GIVE_UP = 3_000;
const MOST_SILENT = 500;

// Who is silent so often in one batch of messages is left alone. In the next one it comes last and has only `SILENT`
// to answer, once, so that everybody's next batch does not wait for it again.
const PATIENCE_WITH_SILENCE = 2;
const MOST_REMEMBERED = 10_000;
const silent = new Set();

// What was refused is tried again after this time, give or take a half: so often before the receiver is set aside,
// and in the second round for `PERSISTENCE`. Milliseconds.
const RETRY_AFTER = 200;
const TRIES = 3;
const PERSISTENCE = 5_000;
const FEW = 5;

const TICK = 10;

/** How many posts a second are right now; what was learned outlasts the batch. */
export const pace = {
  rate: undefined,
  room: 0,
  filled: 0,
  looked: 0,
  posts: 0,
  refused: 0,

  get most() {
    return Number(process.env.DELIVERY_RATE) || RATE;
  },

  /** Whether a post may begin now; if so it counts. */
  take(now) {
    this.rate ??= this.most;
    // What was not used for a while is lost: a burst would be refused.
    this.room = Math.min(this.room + ((now - this.filled) / 1000) * this.rate, Math.max(1, this.rate / 20));
    this.filled = now;
    if (this.room < 1) return false;
    this.room--;
    this.posts++;
    return true;
  },

  look(now) {
    if (now - this.looked < LOOK) return;
    const many = this.refused >= FEW && this.refused > this.posts * TOO_MANY;
    if (many) this.rate = Math.max(SLOWEST, this.rate * FALL);
    else if (this.posts > 0) this.rate = Math.min(this.most, this.rate * RISE);
    Object.assign(this, { looked: now, posts: 0, refused: 0 });
  },
};

export class Paced {
  sent = 0;
  gone = 0;
  failed = 0; // copies that were refused for good, or not answered
  unanswered = 0; // of those that failed: they may have arrived

  #messages;
  #aside = new Map(); // id → receiver: in trouble, and not yet given up
  #ready = []; // receivers with something to send
  #again = []; // receivers to be tried again, each `due` at its time
  #posts = new Set(); // under way, oldest first
  #removals = new Set();
  #busy = 0; // what counts against the concurrency: posts that are not silent
  #most = MIN_CONCURRENCY;
  #second = false;
  #stopped = false;
  #over;
  #complaints = new Complaints();

  /** `messages`: `{endpoint, payload}` each, in their order. `aside`: as `aside` has told it before. */
  constructor(messages, aside) {
    this.#messages = messages;
    for (const [id, next] of aside) this.#aside.set(id, { id, next, tries: 0, silences: 0 });
  }

  /** Who is in trouble, and the first message that each of them has surely not got, as `[id, next]`. */
  get aside() {
    const all = [...this.#aside.values()].map(({ id, next, post }) => [id, post?.exchange.written ? next + 1 : next]);
    return all.filter(([, next]) => next < this.#messages.length);
  }

  /** No post begins any more. */
  stop() {
    this.#stopped = true;
    this.#go();
  }

  /** No post begins any more, and none is under way. */
  async end() {
    this.#stopped = true;
    await this.#round(true);
  }

  get stopped() {
    return this.#stopped;
  }

  /** Sends to the connections of `rows`; afterwards each has got everything, or is gone, or is in `aside`. */
  firstRound(rows) {
    this.#ready = [];
    for (const row of rows.toReversed()) {
      const receiver = { id: idOf(row), connectedAt: Number(row.connectedAt?.N), next: 0, tries: 0, silences: 0 };
      receiver.wasSilent = silent.has(receiver.id);
      if (receiver.wasSilent) this.#aside.set(receiver.id, receiver);
      else this.#ready.push(receiver);
    }
    return this.#round(false);
  }

  /** Sends to those in `aside`, with more patience; afterwards nobody is in it, unless there was a stop. */
  secondRound() {
    this.#ready = [...this.#aside.values()].filter(({ post }) => !post);
    return this.#round(true);
  }

  async #round(second) {
    this.#second = second;
    // Each connection is a TLS handshake at first, which costs the CPU of a dozen posts.
    this.#most = Math.min(CONCURRENCY, Math.max(MIN_CONCURRENCY, Math.ceil(this.#ready.length / RECEIVERS_PER_CONNECTION)));
    await lookAfter(TICK, (now, isLate) => this.#look(now, isLate), (over) => {
      this.#over = over;
      this.#go();
    });
    for (const receiver of [...this.#ready, ...this.#again]) this.#aside.set(receiver.id, receiver);
    this.#ready = [];
    this.#again = [];
    await Promise.all(this.#removals);
  }

  #go() {
    if (!this.#stopped) while (this.#mayPost() && this.#take());
    // A first round does not wait for the silent ones, unless it is the last thing that is done.
    const waits = this.#second || this.#stopped ? this.#posts.size : this.#busy;
    if (waits === 0 && (this.#stopped || (this.#ready.length === 0 && this.#again.length === 0))) this.#over?.();
  }

  #mayPost() {
    return this.#busy < this.#most && this.#posts.size - this.#busy < MOST_SILENT;
  }

  #take() {
    const now = performance.now();
    const due = this.#again[0]?.due <= now ? this.#again : this.#ready;
    if (due.length === 0 || !pace.take(now)) return false;
    this.#post(due === this.#again ? due.shift() : due.pop(), now);
    return true;
  }

  #post(receiver, now) {
    const { endpoint, payload } = this.#messages[receiver.next];
    const exchange = postToConnection(endpoint, receiver.id, payload);
    const post = { receiver, exchange, begun: now, parked: false };
    receiver.post = post;
    receiver.since ??= now;
    this.#posts.add(post);
    this.#busy++;
    exchange.answer.then((answer) => this.#answered(post, answer));
  }

  #answered(post, answer) {
    const { receiver, exchange, parked } = post;
    receiver.post = undefined;
    this.#posts.delete(post);
    if (!parked) this.#busy--;
    const { status, error } = answer;
    if (!error) silent.delete(receiver.id);
    if (status < 300) {
      this.sent++;
      this.#proceed(receiver);
    } else if (status === 410) {
      this.#missed(receiver, answer);
    } else if (status === 429) {
      pace.refused++;
      // Many at once are the account's quota, which is nobody's own trouble; one alone does not read what it gets.
      this.#repeat(receiver, answer, this.#again.length >= FEW);
    } else if (status === 500 || status === 503 || clockCorrected(exchange, answer) || (error && !exchange.written)) {
      this.#repeat(receiver, answer, false);
    } else {
      this.#complaints.notDelivered(receiver.id, answer);
      this.failed++;
      if (error) {
        this.unanswered++;
        receiver.silences++;
      }
      if (error && silent.size < MOST_REMEMBERED) silent.add(receiver.id);
      if (receiver.silences >= (receiver.wasSilent ? 1 : PATIENCE_WITH_SILENCE)) this.#giveUp(receiver, 1);
      else this.#proceed(receiver, error);
    }
    this.#go();
  }

  /** On to the receiver's next message, which waits for the second round if it is in trouble. */
  #proceed(receiver, trouble) {
    receiver.next++;
    receiver.tries = 0;
    receiver.since = undefined;
    if (receiver.next === this.#messages.length) this.#aside.delete(receiver.id);
    else if (!this.#second && (trouble || this.#aside.has(receiver.id))) this.#aside.set(receiver.id, receiver);
    else this.#ready.push(receiver);
  }

  /** Not delivered, and perhaps later. */
  #repeat(receiver, answer, forEver) {
    const now = performance.now();
    if (!forEver) receiver.tries++;
    if (this.#second ? !forEver && now - receiver.since > PERSISTENCE : receiver.tries > TRIES || this.#aside.has(receiver.id)) {
      if (!this.#second) return this.#putAside(receiver);
      this.#complaints.notDelivered(receiver.id, answer);
      return this.#giveUp(receiver);
    }
    receiver.due = now + RETRY_AFTER * (0.5 + Math.random());
    this.#again.push(receiver);
  }

  #putAside(receiver) {
    receiver.since = undefined;
    receiver.tries = 0;
    this.#aside.set(receiver.id, receiver);
  }

  /** What it has not heard of this batch it will not hear, but for the `counted` copies that are counted already. */
  #giveUp({ id, next }, counted = 0) {
    this.failed += this.#messages.length - next - counted;
    this.#aside.delete(id);
  }

  /** A 410: not live yet, or gone. */
  #missed(receiver, answer) {
    const oldEnough = Math.floor(Date.now() / 1000) - YOUNG;
    // Of one without a time nobody knows: it gets a second chance as a young one does (H12).
    const known = receiver.connectedAt <= oldEnough;
    if (!known && !this.#second) return this.#putAside(receiver);
    if (!known && ++receiver.tries < TRIES) {
      receiver.due = performance.now() + RETRY_AFTER * (0.5 + Math.random());
      return void this.#again.push(receiver);
    }
    this.gone += this.#messages.length - receiver.next;
    this.#aside.delete(receiver.id);
    const removal = forget(receiver.id, oldEnough).catch((error) => this.#complaints.notRemoved(receiver.id, error));
    this.#removals.add(removal);
    removal.then(() => this.#removals.delete(removal));
  }

  #look(now, isLate) {
    pace.look(now);
    for (const post of this.#posts) {
      const age = now - post.begun;
      if (isLate || age <= SILENT) break;
      if (age > (post.receiver.wasSilent ? SILENT : GIVE_UP)) post.exchange.abandon(`no answer within ${Math.round(age)} ms`);
      else if (!post.parked && post.exchange.written) {
        post.parked = true;
        this.#busy--;
        if (!this.#second) this.#aside.set(post.receiver.id, post.receiver);
      }
    }
    this.#go();
  }
}
