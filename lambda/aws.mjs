// A lean AWS client: Signature Version 4, DynamoDB's JSON protocol, and the `@connections` API.
//
// Why not the SDK: it costs many times the CPU for each post and most of the cold start
// (docs/performance-broadcast.md).

import { createHash, createHmac, createSecretKey } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { send } from './http.mjs';

// First try included. The waits between are random, up to 0.1, 0.2, 0.4, 0.8 and 1.6 s: brief, because
// others are waiting for their copy of the message. After `PATIENCE` there is no further try, so that
// one who never answers is tried twice. Milliseconds.
const ATTEMPTS = 6;
const FIRST_WAIT = 100;
const PATIENCE = 5_000;

/** An answer of AWS that is no success; `code` is AWS's name for it, where the answer has one. */
export class AwsError extends Error {
  constructor(status, body) {
    const { __type, message, Message } = parseJson(body);
    const code = typeof __type === 'string' ? __type.replace(/^.*#/, '') : undefined;
    super([`HTTP ${status}`, code, message ?? Message].filter(Boolean).join(' '));
    this.name = 'AwsError';
    this.status = status;
    this.code = code;
  }
}

/** One DynamoDB call, e.g. `dynamodb('PutItem', {…})`; resolves to the parsed answer. */
export async function dynamodb(operation, input) {
  const { env } = process;
  const url = new URL(
    env.AWS_ENDPOINT_URL_DYNAMODB || env.AWS_ENDPOINT_URL || `https://dynamodb.${env.AWS_REGION}.${dnsSuffix(env.AWS_REGION)}`,
  );
  const body = await call('dynamodb', url, {
    path: url.pathname,
    headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `DynamoDB_20120810.${operation}` },
    ...payload(JSON.stringify(input)),
  });
  return JSON.parse(body);
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

/** Sends a `payload` to one connection; rejects with an `AwsError` (H5) or a network error. */
export async function postToConnection(endpoint, connectionId, message) {
  await call('execute-api', endpoint, {
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

async function call(service, url, { path, headers, body, bodyHash }) {
  const started = Date.now();
  for (let attempt = 1; ; attempt++) {
    let failure;
    try {
      // Signed anew for each attempt: time goes on, and temporary credentials rotate.
      const request = { method: 'POST', path, headers: { ...headers, host: url.host }, bodyHash };
      const signed = sign(request, service, process.env.AWS_REGION, environmentCredentials(), new Date());
      const response = await send(url, { method: 'POST', path, headers: signed, body });
      if (response.status < 300) return response.body;
      failure = new AwsError(response.status, response.body);
    } catch (error) {
      failure = error;
    }
    if (attempt === ATTEMPTS || Date.now() - started > PATIENCE || !isTransient(failure)) throw failure;
    await sleep(Math.random() * FIRST_WAIT * 2 ** (attempt - 1));
  }
}

function isTransient({ status, code }) {
  return status === undefined || status === 429 || status >= 500 || /^(Throttling|ProvisionedThroughput|RequestLimit)/.test(code);
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
