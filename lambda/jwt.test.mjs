import assert from 'node:assert/strict';
import { createHmac, createPublicKey } from 'node:crypto';
import test from 'node:test';
import { makeKey, makeToken } from './testing/issuer.js';
import { Refused, isSigned, usableKey, verifiedClaims } from './jwt.mjs';

const ISSUER = 'https://issuer.example';
const KEYS = Object.fromEntries(['RS256', 'ES256', 'EdDSA'].map((alg) => [alg, makeKey(alg, `k-${alg}`)]));
const now = () => Math.floor(Date.now() / 1000);
const claims = (others) => ({ iss: ISSUER, aud: 'chat', sub: 'alice', iat: now(), exp: now() + 600, ...others });
const known = Object.values(KEYS).map(({ jwk }) => usableKey(jwk));

function check(token, keys = known) {
  const findKey = async (kid, alg) => keys.find((key) => key.kid === kid && key.alg === alg)?.key;
  return verifiedClaims(token, { issuer: ISSUER, audience: 'chat', findKey });
}

/** Refused for this reason, and without a word of the token in it. */
function refuses(token, reason, keys) {
  return assert.rejects(check(token, keys), (error) => error instanceof Refused && reason.test(error.message));
}

const bytes = (text) => Buffer.from(text, 'base64url');
const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// The examples of RFC 7515 (A.2, A.3) and RFC 8037 (A.4): key, token.
const PUBLISHED = {
  RS256: [
    {
      kty: 'RSA',
      n: 'ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ',
      e: 'AQAB',
    },
    'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw',
  ],
  ES256: [
    {
      kty: 'EC',
      crv: 'P-256',
      x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
      y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
    },
    'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q',
  ],
  EdDSA: [
    { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
    'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
  ],
};

for (const [alg, [jwk, token]] of Object.entries(PUBLISHED)) {
  test(`the published signature is right, and none of its bits may differ: ${alg}`, () => {
    const { key } = usableKey({ ...jwk, kid: 'published' });
    const [head, payload, signature] = token.split('.');
    const data = Buffer.from(`${head}.${payload}`);
    assert.ok(isSigned(alg, key, data, bytes(signature)));
    for (let bit = 0; bit < bytes(signature).length * 8; bit += 7) {
      const other = bytes(signature);
      other[bit >> 3] ^= 1 << (bit & 7);
      assert.ok(!isSigned(alg, key, data, other), `bit ${bit}`);
    }
    for (const wrong of [Buffer.alloc(0), Buffer.alloc(64), Buffer.concat([bytes(signature), Buffer.alloc(1)])]) {
      assert.ok(!isSigned(alg, key, data, wrong));
    }
  });
}

for (const [alg, key] of Object.entries(KEYS)) {
  test(`a token that holds is taken: ${alg}`, async () => {
    assert.equal((await check(makeToken(key, claims()))).sub, 'alice');
  });
}

test('the audience may be one of several, and without one the client counts, as in Cognito’s access tokens', async () => {
  for (const others of [{ aud: ['other', 'chat'] }, { aud: undefined, client_id: 'chat' }]) {
    assert.equal((await check(makeToken(KEYS.ES256, claims(others)))).sub, 'alice');
  }
});

test('clocks may be half a minute apart, and no more', async () => {
  for (const [within, beyond] of [[{ exp: -25 }, { exp: -35 }], [{ nbf: 25 }, { nbf: 35 }], [{ iat: 25 }, { iat: 35 }]]) {
    const at = (offsets) => claims(Object.fromEntries(Object.entries(offsets).map(([name, offset]) => [name, now() + offset])));
    assert.equal((await check(makeToken(KEYS.EdDSA, at(within)))).sub, 'alice');
    await refuses(makeToken(KEYS.EdDSA, at(beyond)), /expired|not valid yet/);
  }
});

const CLAIMS = {
  'another issuer': [{ iss: `${ISSUER}/` }, /another issuer/],
  'no issuer': [{ iss: undefined }, /another issuer/],
  'issuers': [{ iss: [ISSUER] }, /another issuer/],
  'another audience': [{ aud: 'chat2' }, /audience/],
  'no audience': [{ aud: undefined }, /audience/],
  'nothing for an audience': [{ aud: null }, /audience/],
  'an empty list of audiences': [{ aud: [] }, /audience/],
  'an audience within an audience': [{ aud: [['chat']] }, /audience/],
  'an audience that is an object': [{ aud: { chat: true } }, /audience/],
  'an audience among other things': [{ aud: ['chat', 1] }, /audience/],
  'an audience for whom only the client is ours': [{ aud: 'other', client_id: 'chat' }, /audience/],
  'no end': [{ exp: undefined }, /never expires/],
  'an end in words': [{ exp: '9999999999' }, /never expires/],
  'an end that is no number': [{ exp: null }, /never expires/],
  'an end beyond numbers': ['{"iss":"https://issuer.example","aud":"chat","sub":"alice","exp":1e999}', /never expires/],
  'an end before all time': [{ exp: -1 }, /never expires/],
  'a beginning in words': [{ nbf: 'now' }, /no times/],
  'nobody': [{ sub: undefined }, /nobody/],
  'an empty name': [{ sub: '' }, /nobody/],
  'a name that is a number': [{ sub: 7 }, /nobody/],
  'a name that is too long': [{ sub: 'x'.repeat(256) }, /nobody/],
  'something twice': ['{"iss":"https://issuer.example","aud":"other","aud":"chat","sub":"alice","exp":9999999999}', /twice/],
  'something twice, differently written': [`{"iss":"${ISSUER}","aud":"chat","\\u0061ud":"chat","sub":"alice","exp":9999999999}`, /twice/],
  'something twice further in': [`{"iss":"${ISSUER}","aud":"chat","sub":"alice","exp":9999999999,"a":[{"b":1,"b":2}]}`, /twice/],
  'a list': ['[]', /JSON/],
  'no JSON': ['hello', /JSON/],
  'nothing': ['', /JSON/],
};

for (const [name, [payload, reason]] of Object.entries(CLAIMS)) {
  test(`refused, though signed: ${name}`, async () => {
    await refuses(makeToken(KEYS.ES256, typeof payload === 'string' ? payload : claims(payload)), reason);
  });
}

const HEADS = {
  'another algorithm of the same key': [{ alg: 'RS512' }, /algorithm/],
  'PS256': [{ alg: 'PS256' }, /algorithm/],
  'no algorithm': [{ alg: undefined }, /algorithm/],
  'an algorithm in capitals': [{ alg: 'rs256' }, /algorithm/],
  'a list of algorithms': [{ alg: ['RS256'] }, /algorithm/],
  'what all objects have for an algorithm': [{ alg: 'constructor' }, /algorithm/],
  'the algorithm of another kind of key': [{ alg: 'ES256' }, /none of the issuer/],
  'critical extensions': [{ crit: ['exp'], exp: 1 }, /critical/],
  'an empty list of critical extensions': [{ crit: [] }, /critical/],
  'an unencoded payload': [{ b64: false, crit: ['b64'] }, /critical/],
  'a token for logging out': [{ typ: 'logout+jwt' }, /type/],
  'a proof of possession': [{ typ: 'dpop+jwt' }, /type/],
  'a type that is no text': [{ typ: 1 }, /type/],
  'no name of a key': [{ kid: undefined }, /names no key/],
  'an empty name of a key': [{ kid: '' }, /names no key/],
  'names of keys': [{ kid: ['k-RS256'] }, /names no key/],
  'a name of a key that is an object': [{ kid: { toString: 'k-RS256' } }, /names no key/],
  'a path for a key': [{ kid: '../../../../dev/null' }, /none of the issuer/],
  'a query for a key': [{ kid: "x' UNION SELECT 'k-RS256" }, /none of the issuer/],
  'what all objects have for a key': [{ kid: '__proto__' }, /none of the issuer/],
  'a name of a key without end': [{ kid: 'k'.repeat(257) }, /names no key/],
  'something twice': [`{"alg":"none","alg":"RS256","kid":"k-RS256"}`, /twice/],
};

for (const [name, [head, reason]] of Object.entries(HEADS)) {
  test(`refused for its head: ${name}`, async () => {
    await refuses(makeToken(KEYS.RS256, claims(), head), reason);
  });
}

test('a key that the token brings along, or tells where to find, is not looked at', async () => {
  const mine = makeKey('ES256', 'k-ES256');
  for (const head of [{ jwk: mine.jwk }, { jku: 'https://attacker.example/keys' }, { x5u: 'https://attacker.example/chain' }, { x5c: ['MIIB'] }]) {
    await refuses(makeToken(mine, claims(), head), /signature/);
    assert.equal((await check(makeToken(KEYS.ES256, claims(), head))).sub, 'alice');
  }
});

test('unsigned tokens are refused, however `none` is written', async () => {
  for (const alg of ['none', 'None', 'NONE', 'nOnE']) {
    const signed = `${encode({ alg, kid: 'k-RS256' })}.${encode(claims())}`;
    await refuses(`${signed}.`, /not signed/);
    await refuses(`${signed}.${encode('x')}`, /algorithm/);
  }
  const [head, payload] = makeToken(KEYS.RS256, claims()).split('.');
  await refuses(`${head}.${payload}.`, /not signed/);
  await refuses(`${head}.${payload}`, /no signed token/);
});

test('a public key is no secret to sign with', async () => {
  const pem = createPublicKey({ format: 'jwk', key: KEYS.RS256.jwk }).export({ type: 'spki', format: 'pem' });
  for (const secret of [pem, pem.trim(), KEYS.RS256.jwk.n, '']) {
    const signed = `${encode({ alg: 'HS256', kid: 'k-RS256' })}.${encode(claims())}`;
    await refuses(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`, /algorithm/);
  }
});

test('signatures of nothing, of zeros, in another form, or by somebody else are refused', async () => {
  const token = makeToken(KEYS.ES256, claims());
  const data = token.slice(0, token.lastIndexOf('.'));
  const der = bytes('MAYCAQECAQE');
  const signatures = [Buffer.alloc(64), Buffer.alloc(1), Buffer.alloc(65), der, bytes(token.split('.')[2]).subarray(1)];
  for (const signature of signatures) await refuses(`${data}.${signature.toString('base64url')}`, /signature/);
  for (const alg of Object.keys(KEYS)) await refuses(makeToken(makeKey(alg, `k-${alg}`), claims()), /signature/);
});

test('what was signed may not be changed, and one part may not be taken for another', async () => {
  const [head, payload, signature] = makeToken(KEYS.EdDSA, claims()).split('.');
  await refuses(`${head}.${encode(claims({ sub: 'mallory' }))}.${signature}`, /signature/);
  await refuses(`${encode({ alg: 'EdDSA', kid: 'k-EdDSA', typ: 'at+jwt' })}.${payload}.${signature}`, /signature/);
});

test('what is not the one way to write a token is refused', async () => {
  const token = makeToken(KEYS.EdDSA, claims());
  const [head, payload, signature] = token.split('.');
  // The last character of 64 bytes has four bits that say nothing.
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const other = signature.slice(0, -1) + last[last.indexOf(signature.at(-1)) + 1];
  assert.deepEqual(bytes(other), bytes(signature));
  await refuses(`${head}.${payload}.${other}`, /base64url/);
  for (const changed of [`${head}=.${payload}.${signature}`, `${head}.${payload}.${signature}==`, `${head}. ${payload}.${signature}`, `${head}\n.${payload}.${signature}`]) {
    await refuses(changed, /base64url/);
  }
  await refuses(`${head}.${payload}.${Buffer.from([0xfb, 0xff]).toString('base64')}`, /base64url/);
});

test('what is no token, or too much of one, is refused', async () => {
  for (const none of [undefined, null, '', 7, ['a.b.c'], {}]) await refuses(none, /no token/);
  for (const text of ['x', '.', 'a.b', 'a.b.c.d', '{"payload":"x","signatures":[]}', 'a.b.c.d.e.f']) await refuses(text, /no signed token/);
  await refuses('..', /not signed/);
  await refuses(`${encode({ alg: 'dir', enc: 'A128GCM' })}.a.b.c.d`, /encrypted/);
  await refuses(makeToken(KEYS.RS256, claims({ more: 'x'.repeat(8 * 1024) })), /too long/);
  await refuses(`${'['.repeat(3000)}.${'.'.repeat(3000)}`, /no signed token/);
  await refuses(`${encode('['.repeat(3000))}.${encode('{}')}.${encode('x')}`, /JSON/);
  const broken = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString('base64url');
  await refuses(`${broken}.${encode('{}')}.${encode('x')}`, /JSON/);
  await refuses(`${encode('\ufeff{"alg":"RS256","kid":"k-RS256"}')}.${encode('{}')}.${encode('x')}`, /JSON/);
});

test('keys that are no keys for signing are none', () => {
  const { jwk: rsa } = KEYS.RS256;
  const { jwk: ec } = KEYS.ES256;
  const { jwk: okp } = KEYS.EdDSA;
  const wrong = {
    nothing: undefined,
    'a text': 'key',
    'for encryption': { ...rsa, use: 'enc' },
    'for other operations': { ...rsa, key_ops: ['encrypt'] },
    'for another algorithm': { ...rsa, alg: 'RS512' },
    'a secret': { kty: 'oct', k: 'c2VjcmV0', kid: 'k', alg: 'HS256' },
    'of another curve': { ...ec, crv: 'P-384' },
    'for exchanging keys': { ...okp, crv: 'X25519' },
    'a curve of another kind': { ...ec, crv: 'Ed25519' },
    'no point of the curve': { ...ec, y: ec.x },
    'half a key': { ...ec, y: undefined },
    'numbers': { ...rsa, n: 5 },
    'too short': { ...rsa, n: makeShort() },
    'an exponent of one': { ...rsa, e: 'AQ' },
    'without a name': { ...rsa, kid: undefined },
    'with a number for a name': { ...rsa, kid: 1 },
  };
  for (const [name, jwk] of Object.entries(wrong)) assert.equal(usableKey(jwk), undefined, name);
  for (const jwk of [rsa, ec, okp]) assert.ok(usableKey({ ...jwk, use: undefined, alg: undefined }));
});

/** A modulus of 1024 bits. */
function makeShort() {
  return Buffer.concat([Buffer.from([0xff]), Buffer.alloc(126, 7), Buffer.from([1])]).toString('base64url');
}
