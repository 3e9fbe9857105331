// A lean AWS client: Signature Version 4, the JSON protocol of DynamoDB and SQS, and the `@connections` API.
//
// Why not the SDK: it costs many times the CPU for each post and most of the cold start
// (docs/performance-broadcast.md).

import { createHash, createHmac, createSecretKey } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { send } from './http.mjs';

// A call of DynamoDB or SQS that is not answered by then is sent again, and so is one that failed in passing,
// after a random wait of up to 0.1, 0.2, 0.4 … 1.6 s. Where the caller sets no end, the tries end after
// `PATIENCE`. Milliseconds.
const ANSWER = 3_000;
const FIRST_WAIT = 100;
const LONGEST_WAIT = 1_600;
const PATIENCE = 8_000;

// A clock that is off by more than this makes AWS refuse signatures (the limit is 5 minutes). Milliseconds.
const CLOCK_OFF = 4 * 60_000;

// Failures of a request that was right. A young role's keys are not known everywhere at once (I1).
const TRANSIENT = /^(Throttling|RequestThrottled|ProvisionedThroughput|RequestLimit|UnrecognizedClient|InvalidClientTokenId)/;

/** An answer of AWS that is no success; `code` is AWS's name for it, where the answer has one. */
export class AwsError extends Error {
  constructor({ status, head = '', body }) {
    const { __type, message, Message } = parseJson(body);
    const code = (typeof __type === 'string' ? __type : header(head, 'x-amzn-errortype'))?.replace(/^.*#|:.*$/g, '');
    const requestId = header(head, 'x-amzn-requestid');
    const told = [`HTTP ${status}`, code, message ?? Message].filter(Boolean).join(' ');
    super(requestId ? `${told} (request ${requestId})` : told);
    this.name = 'AwsError';
    this.status = status;
    this.code = code;
  }
}

/** Why something failed, in words: an `AggregateError`, as of a host with several addresses, has none of its own. */
export function reasonOf(error) {
  return error.message || error.errors?.map(reasonOf).join(', ') || error.code || String(error);
}

/**
 * One DynamoDB call, e.g. `dynamodb('PutItem', {…})`; resolves to the parsed answer. Every call used here may
 * be repeated, so it is, until it is answered or `performance.now()` has reached `until`; then nothing of it
 * is under way any more.
 */
export function dynamodb(operation, input, until) {
  return call('dynamodb', `DynamoDB_20120810.${operation}`, input, until);
}

/** One SQS call, in the same way. */
export function sqs(operation, input, until) {
  return call('sqs', `AmazonSQS.${operation}`, input, until);
}

async function call(service, target, input, until = performance.now() + PATIENCE) {
  const { env } = process;
  const own = env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] || env.AWS_ENDPOINT_URL;
  const url = new URL(own || `https://${service}.${env.AWS_REGION}.${dnsSuffix(env.AWS_REGION)}`);
  const request = {
    path: url.pathname,
    headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': target },
    ...payload(JSON.stringify(input)),
  };
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    const exchange = signed(service, url, request);
    const answer = await within(exchange, Math.min(ANSWER, until - performance.now()));
    if (answer.status < 300) return JSON.parse(answer.body);
    const failure = answer.error ?? new AwsError(answer);
    const { status, code } = failure;
    const transient = status === undefined || status === 429 || status >= 500 || TRANSIENT.test(code) || clockCorrected(exchange, answer);
    const pause = Math.random() * wait;
    if (!transient || performance.now() + pause >= until) throw failure;
    await sleep(pause);
  }
}

/** The answer to `exchange`, if it comes within `milliseconds`. */
async function within(exchange, milliseconds) {
  const timer = setTimeout(() => exchange.abandon(`no answer within ${Math.round(milliseconds)} ms`), milliseconds);
  const answer = await exchange.answer;
  clearTimeout(timer);
  return answer;
}

/**
 * Where the connections of this API take messages (H6). The execute-api host is used even if the
 * client came by a custom domain: behind that one the path depends on base-path mappings which the
 * function cannot see. `CHATCTL_CONNECTIONS_ENDPOINT` points a local deployment to its emulator.
 */
export function connectionsEndpoint({ apiId, domainName = '', stage }) {
  const { AWS_REGION, CHATCTL_CONNECTIONS_ENDPOINT } = process.env;
  if (CHATCTL_CONNECTIONS_ENDPOINT) return new URL(`${CHATCTL_CONNECTIONS_ENDPOINT}/${apiId}/${stage}`);
  const own = domainName.startsWith(`${apiId}.execute-api.`);
  const host = own ? domainName : `${apiId}.execute-api.${AWS_REGION}.${dnsSuffix(AWS_REGION)}`;
  return new URL(`https://${host}/${stage}`);
}

/**
 * Sends a `payload` to one connection, once; returns the exchange (http.mjs), because only who knows what
 * else is to be done can tell how long to wait. What the answers mean (H5), `AwsError` puts in words.
 */
export function postToConnection(endpoint, connectionId, message) {
  return signed('execute-api', endpoint, {
    path: `${endpoint.pathname}/@connections/${encode(connectionId)}`,
    headers: { 'content-type': 'application/octet-stream' }, // as the SDKs send it
    ...message,
  });
}

/** A body as `send` takes it, and its hash, so that one message to thousands is prepared once. */
export function payload(text) {
  const bytes = Buffer.from(text);
  return { body: bytes.toString('latin1'), bodyHash: sha256(bytes) };
}

// Signed anew for each try: time goes on, and temporary credentials rotate.
function signed(service, url, { path, headers, body, bodyHash }) {
  const request = { method: 'POST', path, headers: { ...headers, host: url.host }, bodyHash };
  const now = new Date(Date.now() + clockOffset);
  const exchange = send(url, { method: 'POST', path, headers: sign(request, service, process.env.AWS_REGION, environmentCredentials(), now), body });
  exchange.signedAt = now.getTime();
  return exchange;
}

// What AWS's clock is ahead of ours, where ours is wrong. Milliseconds.
let clockOffset = 0;

/** Whether the exchange's signature was refused for its time, and the next one will have the right time. */
export function clockCorrected({ signedAt }, { status, head }) {
  if (status !== 400 && status !== 401 && status !== 403) return false;
  const theirs = Date.parse(header(head, 'date'));
  if (!(Math.abs(theirs - signedAt) > CLOCK_OFF)) return false;
  clockOffset = theirs - Date.now();
  return true;
}

function header(head, name) {
  return new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'im').exec(head)?.[1];
}

function environmentCredentials() {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
  return { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY, sessionToken: AWS_SESSION_TOKEN };
}

/**
 * The headers of `request` (lower-case names, one of them `host`, no query in the path) with
 * AWS Signature Version 4. Every header that is handed in gets signed.
 */
export function sign({ method, path, headers, bodyHash }, service, region, credentials, now) {
  const timestamp = now.toISOString().replace(/[-:]|\.\d+/g, '');
  const signed = { ...headers, 'x-amz-date': timestamp };
  if (credentials.sessionToken) signed['x-amz-security-token'] = credentials.sessionToken;
  const names = Object.keys(signed).sort();

  let canonical = `${method}\n${canonicalPath(path)}\n\n`;
  for (const name of names) canonical += `${name}:${signed[name]}\n`;
  canonical += `\n${names.join(';')}\n${bodyHash}`;

  const day = timestamp.slice(0, 8);
  const scope = `${day}/${region}/${service}/aws4_request`;
  const key = signingKey(credentials.secretAccessKey, day, region, service);
  const signature = createHmac('sha256', key).update(`AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${sha256(canonical)}`).digest('hex');
  signed.authorization = `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return signed;
}

// A key is good for a day and one secret; the few in use are kept, and rotation lets none pile up.
// Kept as key objects, because Node 24 takes long to make one of a buffer, and would for each request.
const signingKeys = new Map();

function signingKey(secret, ...scope) {
  const name = [secret, ...scope].join('\n');
  let key = signingKeys.get(name);
  if (!key) {
    const derive = (parent, part) => createHmac('sha256', parent).update(part).digest();
    key = createSecretKey([...scope, 'aws4_request'].reduce(derive, `AWS4${secret}`));
    if (signingKeys.size >= 8) signingKeys.clear();
    signingKeys.set(name, key);
  }
  return key;
}

// The path is encoded as it is sent, and for the signature once more: the connection id `a=`
// travels as `a%3D` and is signed as `a%253D` (every service but S3 wants it so).
function canonicalPath(path) {
  return encode(path).replaceAll('%2F', '/');
}

function encode(text) {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

function dnsSuffix(region) {
  const [, suffix] = PARTITIONS.find(([prefix]) => region.startsWith(prefix));
  return suffix;
}

// Region prefix → DNS suffix, from the SDKs' partitions file.
const PARTITIONS = [
  ['cn-', 'amazonaws.com.cn'],
  ['eusc-', 'amazonaws.eu'],
  ['us-iso-', 'c2s.ic.gov'],
  ['us-isob-', 'sc2s.sgov.gov'],
  ['us-isof-', 'csp.hci.ic.gov'],
  ['eu-isoe-', 'cloud.adc-e.uk'],
  ['', 'amazonaws.com'],
];

function parseJson(body) {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {}; // an HTML page of some proxy: the status says enough
  }
}
