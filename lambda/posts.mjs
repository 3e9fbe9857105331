// What delivery.mjs and paced.mjs have in common: how they look after the posts under way, and tell of what fails.

import { AwsError, reasonOf } from './aws.mjs';

// A look that comes so long after the last one means that we were kept from hearing, not that nobody answered.
// Milliseconds.
const LATE = 100;

// A failure that hits thousands of receivers is told this many times, then counted.
const MAX_LOG_LINES = 20;

/** Looks every `tick` milliseconds, until `begin` calls what it is given. */
export async function lookAfter(tick, look, begin) {
  let looked = performance.now();
  const ticker = setInterval(() => {
    const now = performance.now();
    const isLate = now - looked > LATE;
    looked = now;
    look(now, isLate);
  }, tick);
  await new Promise(begin);
  clearInterval(ticker);
}

/** What one delivery tells of its failures. */
export class Complaints {
  #told = 0;

  notDelivered(connectionId, answer) {
    this.#tell('a message was not delivered', connectionId, answer.error ?? new AwsError(answer));
  }

  notRemoved(connectionId, error) {
    this.#tell('a dead connection was not removed', connectionId, error);
  }

  #tell(what, connectionId, error) {
    if (this.#told++ < MAX_LOG_LINES) console.error(JSON.stringify({ error: what, connectionId, reason: reasonOf(error) }));
  }
}
