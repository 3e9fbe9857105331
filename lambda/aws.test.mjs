import assert from 'node:assert/strict';
import test from 'node:test';
import { AwsError, connectionsEndpoint, payload, reasonOf, sign } from './aws.mjs';

// Cases of AWS's published Signature Version 4 test suite (its copy in awslabs/aws-c-auth): all with
// the key below, us-east-1, service `service`, 30 Aug 2015 12:36:00 UTC, host example.amazonaws.com.
const KEY = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const STS_TOKEN =
  'AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==';
const FORM_HASH = '9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e';

const SUITE = {
  'get-vanilla': { method: 'GET', signature: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31' },
  'post-vanilla': { signature: '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b' },
  'get-space': { method: 'GET', path: '/example space/', signature: '652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741' },
  'get-utf8': { method: 'GET', path: '/ሴ', signature: '8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85' },
  'post-sts-header-before': { token: STS_TOKEN, signature: '85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead' },
  'get-vanilla-with-session-token': {
    method: 'GET',
    token: '6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267',
    signature: '07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8',
  },
  'post-x-www-form-urlencoded': {
    headers: { 'content-length': '13', 'content-type': 'application/x-www-form-urlencoded', 'x-amz-content-sha256': FORM_HASH },
    body: 'Param1=value1',
    signature: 'd3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b',
  },
};

for (const [name, { method = 'POST', path = '/', headers, body = '', token, signature }] of Object.entries(SUITE)) {
  test(`AWS signature test suite: ${name}`, () => {
    const { bodyHash } = payload(body);
    const request = { method, path, headers: { host: 'example.amazonaws.com', ...headers }, bodyHash };
    const signed = sign(request, 'service', 'us-east-1', { ...KEY, sessionToken: token }, new Date('2015-08-30T12:36:00Z'));
    assert.equal(signed['x-amz-date'], '20150830T123600Z');
    assert.equal(signed['x-amz-security-token'], token);
    const names = Object.keys(signed).filter((header) => header !== 'authorization').sort().join(';');
    assert.equal(
      signed.authorization,
      `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=${names}, Signature=${signature}`,
    );
  });
}

test('a post to a connection is signed as botocore signs it', () => {
  const { bodyHash } = payload('hello 👋');
  const request = {
    method: 'POST',
    path: '/prod/@connections/L0SM9cOFvHcCIhw%3D',
    headers: { host: 'abc123.execute-api.eu-central-1.amazonaws.com' },
    bodyHash,
  };
  const credentials = { ...KEY, sessionToken: 'session/token+==' };
  const { authorization } = sign(request, 'execute-api', 'eu-central-1', credentials, new Date('2026-01-02T03:04:05Z'));
  assert.match(authorization, /Signature=1e48d4095c7e61db926478b7433d3dca80639d2db98b2a27b856bf90cfdfb7c2$/);
});

test('the signing key follows secret, day, region and service', () => {
  const request = { method: 'POST', path: '/', headers: { host: 'h' }, bodyHash: payload('').bodyHash };
  const day = new Date('2026-01-02T00:00:00Z');
  const other = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'other' };
  const variants = () => [
    sign(request, 'dynamodb', 'us-east-1', KEY, day),
    sign(request, 'execute-api', 'us-east-1', KEY, day),
    sign(request, 'dynamodb', 'us-east-2', KEY, day),
    sign(request, 'dynamodb', 'us-east-1', other, day),
    sign(request, 'dynamodb', 'us-east-1', KEY, new Date('2026-01-03T00:00:00Z')),
  ].map(({ authorization }) => authorization.slice(-64));
  const first = variants();
  assert.equal(new Set(first).size, first.length);
  assert.deepEqual(variants(), first); // the kept keys are the same ones
});

test('connections are reached at the execute-api host, by whatever name the client came (H6)', (t) => {
  const saved = { ...process.env };
  t.after(() => (process.env = saved));
  delete process.env.CHATCTL_CONNECTIONS_ENDPOINT;
  const at = (region, domainName) => {
    process.env.AWS_REGION = region;
    return connectionsEndpoint({ apiId: 'a1b2', domainName, stage: 'prod' }).href;
  };
  assert.equal(at('eu-west-1', 'a1b2.execute-api.eu-west-1.amazonaws.com'), 'https://a1b2.execute-api.eu-west-1.amazonaws.com/prod');
  assert.equal(at('eu-west-1', 'chat.example.com'), 'https://a1b2.execute-api.eu-west-1.amazonaws.com/prod');
  assert.equal(at('us-gov-west-1', 'chat.example.com'), 'https://a1b2.execute-api.us-gov-west-1.amazonaws.com/prod');
  assert.equal(at('cn-north-1', 'chat.example.cn'), 'https://a1b2.execute-api.cn-north-1.amazonaws.com.cn/prod');
  assert.equal(at('us-isob-east-1', undefined), 'https://a1b2.execute-api.us-isob-east-1.sc2s.sgov.gov/prod');
  process.env.CHATCTL_CONNECTIONS_ENDPOINT = 'http://127.0.0.1:4566/_aws/execute-api';
  assert.equal(at('us-east-1', 'localhost'), 'http://127.0.0.1:4566/_aws/execute-api/a1b2/prod');
});

test('a failure is told in words: those of each address where there are several, and with the id of the request', () => {
  const refused = (address) => Object.assign(new Error(`connect ECONNREFUSED ${address}`), { code: 'ECONNREFUSED' });
  const several = new AggregateError([refused('::1'), refused('127.0.0.1')]);
  assert.equal(reasonOf(several), 'connect ECONNREFUSED ::1, connect ECONNREFUSED 127.0.0.1');
  assert.equal(reasonOf(Object.assign(new AggregateError([]), { code: 'ETIMEDOUT' })), 'ETIMEDOUT');
  assert.equal(reasonOf(refused('::1')), 'connect ECONNREFUSED ::1');
  const refusal = new AwsError({ status: 403, head: 'HTTP/1.1 403 Forbidden\r\nx-amzn-requestid: r-1\r\n\r\n', body: Buffer.from('{"message":"no"}') });
  assert.match(reasonOf(refusal), /HTTP 403.*no.* \(request r-1\)$/);
});
