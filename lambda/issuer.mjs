// The keys that an issuer publishes (OpenID Connect Discovery): kept in the execution environment, and fetched again
// when they are old or a token names one that is not among them, as after a rotation.

import http from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import { usableKey } from './jwt.mjs';

// Keys are asked for again after so long: until then one that was withdrawn still counts. Milliseconds.
const FRESH = 10 * 60_000;
// And count for so long if nobody answers. Milliseconds.
const LAST = 60 * 60_000;
// Nobody who makes up names of keys makes us ask more often than this; without any keys nobody gets in, so that
// asking is worth more. Milliseconds.
const PAUSE = 30_000;
const PAUSE_WITHOUT_KEYS = 5_000;
// For both documents together. API Gateway waits for 29 s (G7), and so does the client. Milliseconds.
const PATIENCE = 5_000;

const LARGEST_DOCUMENT = 256 * 1024;
const MOST_KEYS = 100;

export class Issuer {
  #name;
  #keys;
  #fetched = -Infinity;
  #tried = -Infinity;
  #fetching;

  constructor(name) {
    this.#name = name;
  }

  /** The key called `kid` for `alg`, if there is exactly one. Rejects if the issuer's keys cannot be had. */
  async key(kid, alg) {
    let key = this.#find(kid, alg);
    if (!key || Date.now() - this.#fetched > FRESH) {
      await this.#refresh();
      key = this.#find(kid, alg);
    }
    if (Date.now() - this.#fetched > LAST) throw new Error('the keys of the issuer cannot be had');
    return key;
  }

  #find(kid, alg) {
    const found = (this.#keys ?? []).filter((known) => known.kid === kid && known.alg === alg);
    return found.length === 1 ? found[0].key : undefined;
  }

  async #refresh() {
    const pause = this.#keys ? PAUSE : PAUSE_WITHOUT_KEYS;
    if (!this.#fetching && Date.now() - this.#tried < pause) return;
    this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined));
    await this.#fetching;
  }

  async #fetch() {
    this.#tried = Date.now();
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      const place = trusted(`${this.#name.replace(/\/$/, '')}/.well-known/openid-configuration`);
      const { issuer, jwks_uri: uri } = await get(place, signal);
      if (issuer !== this.#name) throw new Error('it says that it is another one');
      const { keys } = await get(trusted(uri, place), signal);
      if (!Array.isArray(keys) || keys.length > MOST_KEYS) throw new Error('it has no list of keys, or too long a one');
      this.#keys = keys.map(usableKey).filter(Boolean);
      this.#fetched = Date.now();
    } catch (error) {
      console.error(JSON.stringify({ error: 'the keys of the issuer could not be fetched', reason: error.code ?? error.message }));
    }
  }
}

/** Nobody on the way may change what keys there are; to the machine itself there is no way. */
function trusted(text, issuer) {
  const url = new URL(text);
  const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname) && (issuer?.protocol ?? 'http:') === 'http:';
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal)) throw new Error('it is not on https');
  return url;
}

/** The JSON at `url`, over a connection of its own: one that idled may be dead by now. Redirects are not followed. */
async function get(url, signal) {
  const { get } = url.protocol === 'https:' ? https : http;
  const request = get(url, { agent: false, signal, headers: { accept: 'application/json' } });
  const [response] = await once(request, 'response');
  request.on('error', () => {}); // the response tells
  try {
    if (response.statusCode !== 200) throw new Error(`HTTP ${response.statusCode}`);
    const chunks = [];
    let size = 0;
    for await (const chunk of response) {
      size += chunk.length;
      if (size > LARGEST_DOCUMENT) throw new Error('its answer is too large');
      chunks.push(chunk);
    }
    return parse(Buffer.concat(chunks).toString());
  } finally {
    request.destroy();
  }
}

function parse(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    throw new Error('its answer is not in JSON');
  }
}
