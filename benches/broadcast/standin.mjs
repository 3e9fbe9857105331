// The stand-in for DynamoDB, SQS and `@connections`: a process of its own, so that its CPU does not count
// as the handler's. It speaks just enough HTTP/1.1 over TLS, and answers every call after `latency` ms.
//
// Orders come by IPC: {table: {connections, gonePercent, mutePercent, messages}, latency, quota} prepares a run,
// {report: true} asks what the run did. `quota` is {rate, burst} of posts, answered by 429 beyond; `messages` is how
// many everybody is to get; who is mute never answers.

import fs from 'node:fs';
import tls from 'node:tls';

const PAGE_BYTES = 1024 * 1024; // DynamoDB ends a page here (H10)

// Names and values of a whole row count, whatever is projected: an id and two numbers of 10 digits.
const ROW_BYTES = 'connectionIdconnectedAtexpiresAt'.length + 16 + 2 * 6;

const idOf = (i) => `${i.toString(36).padStart(15, 'A')}=`;
const indexOf = (id) => Number.parseInt(id.slice(0, -1).replace(/^A+/, ''), 36);

let connectedAt;
let alive;
let mute;
let checkpoint;
let latency = 10;
let bucket;
let tally;

function prepare(order) {
  const { connections, gonePercent, mutePercent = 0, messages = 1 } = order.table;
  connectedAt = String(Math.floor(Date.now() / 1000) - 3600);
  alive = Uint8Array.from({ length: connections }, (_, i) => ((i * gonePercent) % 100 < 100 - gonePercent ? 1 : 0));
  // Others than those who are gone, and no two beside one another.
  mute = (i) => mutePercent > 0 && (i * 37 + 11) % 100 < mutePercent;
  checkpoint = undefined;
  latency = order.latency ?? 10;
  bucket = order.quota && { ...order.quota, level: order.quota.burst, at: performance.now() };
  tally = { messages, received: new Uint8Array(connections), posts: 0, throttled: 0, scans: 0, deletes: 0, sockets: 0, seconds: new Map() };
}

function report() {
  const { messages, received, posts, throttled, scans, deletes, sockets, seconds, first, last } = tally;
  const reached = received.reduce((sum, n) => sum + (n >= messages), 0);
  const twice = received.reduce((sum, n) => sum + (n > messages), 0);
  const living = alive.reduce((sum, yes, i) => sum + (yes && !mute(i) ? 1 : 0), 0);
  // The most posts within any second, looked at in steps of 100 ms.
  const steps = [...seconds.keys()];
  const window = (from) => Array.from({ length: 10 }, (_, i) => seconds.get(from + i) ?? 0).reduce((a, b) => a + b);
  const peakRate = Math.max(0, ...steps.map(window));
  return { reached, twice, living, posts, throttled, scans, deletes, sockets, peakRate, first, last };
}

function post(path) {
  const id = decodeURIComponent(path.slice(path.lastIndexOf('/') + 1));
  const now = performance.now();
  tally.posts++;
  const step = Math.floor(now / 100);
  tally.seconds.set(step, (tally.seconds.get(step) ?? 0) + 1);
  if (bucket) {
    bucket.level = Math.min(bucket.burst, bucket.level + ((now - bucket.at) / 1000) * bucket.rate);
    bucket.at = now;
    if (bucket.level < 1) {
      tally.throttled++;
      return [429, '{"message":"Limit Exceeded"}'];
    }
    bucket.level--;
  }
  const i = indexOf(id);
  if (alive[i] && mute(i)) return [];
  if (!alive[i]) return [410, '{"message":"GoneException"}'];
  tally.received[i]++;
  return [200, ''];
}

function scan({ Limit = Infinity, ExclusiveStartKey, ProjectionExpression, Segment = 0, TotalSegments = 1 }) {
  tally.scans++;
  const size = Math.ceil(alive.length / TotalSegments);
  const last = Math.min(alive.length, (Segment + 1) * size);
  const from = ExclusiveStartKey ? indexOf(ExclusiveStartKey.connectionId.S) + 1 : Math.min(last, Segment * size);
  const end = Math.min(last, from + Math.min(Limit, Math.floor(PAGE_BYTES / ROW_BYTES)));
  let rest = ProjectionExpression?.includes('connectedAt') === false ? '' : `,"connectedAt":{"N":"${connectedAt}"}`;
  if (!ProjectionExpression) rest += `,"expiresAt":{"N":"${connectedAt}"}`;
  const rows = Array.from({ length: end - from }, (_, n) => `{"connectionId":{"S":"${idOf(from + n)}"}${rest}}`);
  const more = end < last ? `,"LastEvaluatedKey":{"connectionId":{"S":"${idOf(end - 1)}"}}` : '';
  return [200, `{"Items":[${rows.join()}],"Count":${end - from},"ScannedCount":${end - from}${more}}`];
}

/** The checkpoint, for whoever has read the last one. */
function put({ Item, ExpressionAttributeValues: values }) {
  const token = checkpoint?.token.S;
  if (token !== values[':known']?.S && token !== values[':mine'].S) {
    return [400, '{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}'];
  }
  checkpoint = Item;
  return [200, '{}'];
}

function answer(head, body) {
  const path = head.slice(5, head.indexOf(' ', 5));
  if (path.includes('/@connections/')) return post(path);
  if (/^x-amz-target: *DynamoDB_20120810\.Scan/im.test(head)) return scan(JSON.parse(body));
  if (/^x-amz-target: *AmazonSQS\./im.test(head)) return [200, '{}'];
  if (/^x-amz-target: *DynamoDB_20120810\.GetItem/im.test(head)) return [200, JSON.stringify({ Item: checkpoint })];
  if (/^x-amz-target: *DynamoDB_20120810\.PutItem/im.test(head)) return put(JSON.parse(body));
  tally.deletes++;
  return [200, '{}'];
}

function serve(socket) {
  if (tally) tally.sockets++;
  let pending = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      const end = pending.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = pending.toString('latin1', 0, end);
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (pending.length < end + 4 + length) return;
      const [status, text] = answer(head, pending.toString('utf8', end + 4, end + 4 + length));
      pending = pending.subarray(end + 4 + length);
      if (!status) continue;
      const response =
        `HTTP/1.1 ${status} X\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: keep-alive\r\n` +
        `x-amzn-RequestId: 6f2c1a50-93ab-4ad0-9c47-2f9f6d1b7a11\r\nx-amz-apigw-id: AbCdEfGhIjKlMnO=\r\n\r\n${text}`;
      // Clocked when the answer is on its way: that is when the receiver has it.
      setTimeout(() => {
        if (status === 200 && text === '') {
          tally.last = Number(process.hrtime.bigint()) / 1e6;
          tally.first ??= tally.last;
        }
        socket.write(response);
      }, latency);
    }
  });
}

const [keyFile, certFile] = process.argv.slice(2);
const server = tls.createServer({ key: fs.readFileSync(keyFile), cert: fs.readFileSync(certFile), ALPNProtocols: ['http/1.1'] }, serve);
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));

process.on('message', (order) => {
  if (order.table) prepare(order);
  process.send(order.report ? report() : { ready: true });
});
process.on('disconnect', () => process.exit());
