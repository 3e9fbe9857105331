// JSON Web Tokens, as narrow as a front door needs them: one signature in compact form, by a key that is looked up
// and never one that the token brings along (RFC 7515, 7519, 8725).

import { createPublicKey, verify } from 'node:crypto';

// API Gateway takes 10 KB of headers and 4 KB of URL.
const LONGEST_TOKEN = 8 * 1024;
const LONGEST_KEY_ID = 256;
// As OpenID Connect has it.
const LONGEST_SUBJECT = 255;

// What the issuer's clock and ours may be apart. Seconds.
const CLOCK_SKEW = 30;

// Each with the one kind of key that goes with it, so that no key is ever used in another way than it was made for.
const ALGORITHMS = new Map([
  ['RS256', { kty: 'RSA', members: ['n', 'e'], digest: 'sha256' }],
  ['ES256', { kty: 'EC', crv: 'P-256', members: ['crv', 'x', 'y'], digest: 'sha256', dsaEncoding: 'ieee-p1363' }],
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519', members: ['crv', 'x'], digest: null }],
]);

// Tokens for other purposes have other types (RFC 8725, 3.11).
const TYPES = [undefined, 'jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'];

/** Why a token is not taken. What is said has nothing of the token in it, because it is logged. */
export class Refused extends Error {}

function demand(holds, otherwise) {
  if (!holds) throw new Refused(otherwise);
}

/** `{kid, alg, key}` for a JWK of the issuer's, if tokens may be signed with it. */
export function usableKey(jwk) {
  const [alg, { kty, members } = {}] =
    [...ALGORITHMS].find(([, wanted]) => wanted.kty === jwk?.kty && (!wanted.crv || wanted.crv === jwk.crv)) ?? [];
  const { kid, use = 'sig', key_ops: operations = ['verify'] } = jwk ?? {};
  if (!alg || (jwk.alg ?? alg) !== alg || use !== 'sig' || !Array.isArray(operations) || !operations.includes('verify')) return undefined;
  if (typeof kid !== 'string' || kid === '' || kid.length > LONGEST_KEY_ID) return undefined;
  try {
    const key = createPublicKey({ format: 'jwk', key: Object.fromEntries([['kty', kty], ...members.map((name) => [name, jwk[name]])]) });
    const { modulusLength = 2048, publicExponent = 65537n } = key.asymmetricKeyDetails;
    return modulusLength >= 2048 && modulusLength <= 8192 && publicExponent > 2n ? { kid, alg, key } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether `signature` is one of `data` by `key`. */
export function isSigned(alg, key, data, signature) {
  const { digest, dsaEncoding } = ALGORITHMS.get(alg);
  return verify(digest, data, { key, dsaEncoding }, signature);
}

/**
 * The claims of `token`, all of which hold: signed by a key that `findKey(kid, alg)` resolves to, from `issuer`, for
 * `audience`, and now. Rejects with `Refused`, or with what `findKey` rejects with.
 */
export async function verifiedClaims(token, { issuer, audience, findKey }) {
  demand(typeof token === 'string' && token !== '', 'there is no token');
  demand(token.length <= LONGEST_TOKEN, 'it is too long');
  const parts = token.split('.', 6);
  demand(parts.length !== 5, 'it is encrypted');
  demand(parts.length === 3, 'it is no signed token');
  const [head, payload, signature] = parts.map(decode);
  demand(signature.length > 0, 'it is not signed');

  const { alg, kid, typ, crit } = parseObject(head);
  demand(ALGORITHMS.has(alg), 'its algorithm is none of RS256, ES256 and EdDSA');
  demand(crit === undefined, 'it has critical extensions');
  demand(TYPES.includes(typeof typ === 'string' ? typ.toLowerCase() : typ), 'it is of another type');
  demand(typeof kid === 'string' && kid !== '' && kid.length <= LONGEST_KEY_ID, 'it names no key');
  const claims = parseObject(payload);
  // Before a key is looked for: what is not meant for us is no reason to ask the issuer.
  demand(claims.iss === issuer, 'it is from another issuer');

  const key = await findKey(kid, alg);
  demand(key, 'its key is none of the issuer’s');
  const data = Buffer.from(token.slice(0, token.lastIndexOf('.')), 'latin1');
  demand(isSigned(alg, key, data, signature), 'its signature is wrong');
  checkClaims(claims, audience);
  return claims;
}

function checkClaims({ aud, client_id: client, exp, nbf, iat, sub }, audience) {
  // The access tokens of Amazon Cognito have no audience, but name the client.
  const audiences = [aud ?? client].flat();
  demand(audiences.every((name) => typeof name === 'string') && audiences.includes(audience), 'it is for another audience');
  const now = Date.now() / 1000;
  const isTime = (value) => Number.isFinite(value) && value >= 0;
  demand(isTime(exp), 'it never expires');
  demand(now < exp + CLOCK_SKEW, 'it has expired');
  for (const begin of [nbf, iat]) {
    demand(begin === undefined || isTime(begin), 'its times are no times');
    demand(begin === undefined || begin <= now + CLOCK_SKEW, 'it is not valid yet');
  }
  demand(typeof sub === 'string' && sub !== '' && sub.length <= LONGEST_SUBJECT, 'it names nobody');
}

/** The bytes of one part, of which there is only one way to write them. */
function decode(part) {
  const bytes = Buffer.from(part, 'base64url');
  demand(bytes.toString('base64url') === part, 'it is not in base64url');
  return bytes;
}

/** The object that `bytes` are the JSON of, in which no name is there twice: readers differ in which one they take. */
function parseObject(bytes) {
  let text, value;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    // The error would tell of the token.
  }
  demand(typeof value === 'object' && value !== null && !Array.isArray(value), 'it is not in JSON');
  const objects = [];
  for (const [found] of text.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}]/g)) {
    if (found === '{') objects.push(new Set());
    else if (found === '}') objects.pop();
    else if (found.endsWith(':')) {
      const name = JSON.parse(found.slice(0, -1));
      demand(!objects.at(-1).has(name), 'it says something twice');
      objects.at(-1).add(name);
    }
  }
  return value;
}
