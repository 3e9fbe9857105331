// How far a broadcast has come, kept where the next invocation finds it: an item of the connection table, under a
// key that no connection can have.
//
// A queue in order hands out what it has handed out before, or, once all of that is over, what is new. So it
// suffices to know the last messages that were begun: as `legs`, `{ids, cursor, aside, done}`, one after the
// other. The messages `ids` have gone to every row up to `cursor`, except that those in `aside` (`[connectionId,
// next]`) have only heard the ones before the `next`.

import { randomUUID } from 'node:crypto';
import { dynamodb } from './aws.mjs';
import { CHECKPOINT } from './receivers.mjs';

// Long after any message that it speaks of, the item removes itself. Seconds.
const LIFETIME = 86_400;

/** Somebody else goes on with these messages. */
export class Superseded extends Error {}

export class Checkpoint {
  #token;
  #legs;
  #at;

  static async read() {
    const checkpoint = new Checkpoint();
    const Key = { connectionId: { S: CHECKPOINT } };
    const { Item } = await dynamodb('GetItem', { TableName: process.env.TABLE_NAME, Key, ConsistentRead: true });
    checkpoint.#token = Item?.token.S;
    checkpoint.#legs = Item ? JSON.parse(Item.legs.S) : [];
    return checkpoint;
  }

  /** Whether the message has been begun, and is perhaps done. */
  knows(id) {
    return this.#legs.some((leg) => leg.ids.includes(id));
  }

  /** The leg that begins with the first of `ids`, and has as many of them as can go on together. */
  begin(ids) {
    this.#at = 0;
    this.#legs = this.#legs.slice(this.#legs.findIndex((leg) => leg.ids.includes(ids[0])));
    if (!this.knows(ids[0])) this.#legs = [{ ids, aside: [] }];
    this.#split(this.#legs[0].ids.indexOf(ids[0]));
    const { ids: known } = this.#legs[this.#at];
    const differs = known.findIndex((id, i) => id !== ids[i]);
    if (differs > 0) {
      this.#split(differs);
      this.#at--;
    }
    return this.#legs[this.#at];
  }

  /** Makes two legs of the present one, of which the second begins with the message `count`. */
  #split(count) {
    if (count === 0) return;
    const { ids, aside, ...rest } = this.#legs[this.#at];
    const first = { ...rest, ids: ids.slice(0, count), aside: aside.filter(([, next]) => next < count) };
    const second = { ...rest, ids: ids.slice(count), aside: aside.map(([id, next]) => [id, Math.max(0, next - count)]) };
    this.#legs.splice(this.#at++, 1, first, second);
  }

  /**
   * Writes what has changed of the present leg. Who reads it after that goes on from here, and who has read it
   * before cannot write any more: `Superseded`.
   */
  async save(changes = {}) {
    Object.assign(this.#legs[this.#at], changes);
    const token = randomUUID();
    const Item = {
      connectionId: { S: CHECKPOINT },
      token: { S: token },
      legs: { S: JSON.stringify(this.#legs) },
      expiresAt: { N: String(Math.floor(Date.now() / 1000) + LIFETIME) },
    };
    // One that is sent again, because its answer was lost, meets itself.
    const known = this.#token ? '#token IN (:known, :mine)' : 'attribute_not_exists(#token) OR #token = :mine';
    const values = { ':mine': { S: token }, ...(this.#token && { ':known': { S: this.#token } }) };
    try {
      await dynamodb('PutItem', {
        TableName: process.env.TABLE_NAME,
        Item,
        ConditionExpression: known,
        ExpressionAttributeNames: { '#token': 'token' },
        ExpressionAttributeValues: values,
      });
    } catch (error) {
      if (error.code !== 'ConditionalCheckFailedException') throw error;
      throw new Superseded('another invocation goes on with these messages');
    }
    this.#token = token;
  }
}
