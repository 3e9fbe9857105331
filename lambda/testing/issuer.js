// An issuer of tokens on 127.0.0.1, with discovery and keys, which may rotate, be slow, die or lie.

import http from 'node:http';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

const KINDS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

/** A key with its public half as a JWK. */
export function makeKey(alg, kid, pair = KINDS[alg]()) {
  return { alg, kid, privateKey: pair.privateKey, jwk: { ...pair.publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg } };
}

/** A token of `head` and `claims`, objects or texts of them, signed by `key` in the way of its kind. */
export function makeToken(key, claims, head = {}) {
  const header = typeof head === 'string' ? head : { alg: key.alg, kid: key.kid, typ: 'JWT', ...head };
  const signed = `${encode(header)}.${encode(claims)}`;
  const digest = key.alg === 'EdDSA' ? null : 'sha256';
  return `${signed}.${sign(digest, Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

export class StandInIssuer {
  keys = [];
  asked = []; // paths

  /** May answer a path in the place of the issuer: returns whether it does. */
  instead = () => false;

  static async serve(t) {
    const issuer = new StandInIssuer();
    issuer.server = http.createServer((request, response) => issuer.#answer(request, response));
    issuer.server.listen(0, '127.0.0.1');
    await once(issuer.server, 'listening');
    issuer.url = `http://127.0.0.1:${issuer.server.address().port}`;
    t.after(() => issuer.stop());
    return issuer;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** Claims that hold. */
  claims(others) {
    const now = Math.floor(Date.now() / 1000);
    return { iss: this.url, aud: 'chat', sub: 'alice', iat: now, exp: now + 600, ...others };
  }

  async #answer({ url }, response) {
    this.asked.push(url);
    if (await this.instead(url, response)) return;
    const documents = {
      '/.well-known/openid-configuration': { issuer: this.url, jwks_uri: `${this.url}/keys` },
      '/keys': { keys: this.keys.map(({ jwk }) => jwk) },
    };
    response.writeHead(documents[url] ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(documents[url] ?? {}));
  }
}
