// A stand-in for DynamoDB, SQS and `@connections` on 127.0.0.1, for the tests: one table and one queue in memory, real
// sockets, and a hook through which a test makes calls fail, wait or vanish.

import http from 'node:http';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

export class StandIn {
  table = new Map(); // connectionId → item, as DynamoDB writes it
  calls = []; // {operation, input} or {operation: 'Post', connectionId, text}
  received = new Map(); // connectionId → texts
  queue = []; // {record, group, hidden}: in the order in which they were sent
  #places = new Map(); // connectionId → where it stands in a scan, for ever
  sockets = new Set();
  posting = 0;
  mostPosting = 0;

  /**
   * Called with each call before it is answered; may return (or resolve to) a status, 'reset', or, for a call
   * that has its effect, `{after}`: how many milliseconds later the answer comes, or 'never'.
   */
  before = () => undefined;

  /** Serves; `environment` is what a process needs to take it for AWS. */
  static async serve(t) {
    const aws = new StandIn();
    aws.server = http.createServer({ keepAliveTimeout: 0 }, (request, response) => aws.#answer(request, response));
    aws.server.on('connection', (socket) => aws.sockets.add(socket));
    aws.server.listen(0, '127.0.0.1');
    await once(aws.server, 'listening');
    const url = `http://127.0.0.1:${aws.server.address().port}`;
    aws.environment = {
      TABLE_NAME: 'chat-connections',
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_SESSION_TOKEN: 'token',
      AWS_ENDPOINT_URL: url,
      CHATCTL_CONNECTIONS_ENDPOINT: `${url}/_aws/execute-api`,
    };
    t.after(() => {
      aws.server.closeAllConnections();
      aws.server.close();
    });
    return aws;
  }

  /** Serves this process. */
  static async start(t) {
    const aws = await StandIn.serve(t);
    const saved = { ...process.env };
    Object.assign(process.env, aws.environment);
    t.after(() => (process.env = saved));
    t.mock.method(Math, 'random', () => 0); // no waits between tries
    return aws;
  }

  connect(connectionId, { age = 60 } = {}) {
    const connectedAt = String(Math.floor(Date.now() / 1000) - age);
    this.#put({ connectionId: { S: connectionId }, connectedAt: { N: connectedAt } });
    this.received.set(connectionId, []);
    return connectionId;
  }

  count(operation) {
    return this.calls.filter((call) => call.operation === operation).length;
  }

  /** Resolves when what was sent before has been taken note of, however slow this process is. */
  async caughtUp() {
    for (let i = 0; i < 2; i++) {
      const [response] = await once(http.get(this.environment.AWS_ENDPOINT_URL, { agent: false }), 'response');
      await response.resume().toArray();
    }
  }

  async #answer(request, response) {
    if (request.method === 'GET') return response.end();
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const [, connectionId] = /^\/_aws\/execute-api\/api1\/prod\/@connections\/(.+)$/.exec(request.url) ?? [];
    const call = connectionId
      ? { operation: 'Post', connectionId: decodeURIComponent(connectionId), text: body }
      : { operation: request.headers['x-amz-target'].split('.')[1], input: JSON.parse(body) };
    call.headers = request.headers;
    this.calls.push(call);
    if (connectionId) this.mostPosting = Math.max(this.mostPosting, ++this.posting);
    const status = await this.before(call);
    await setImmediate(); // so that calls which come at once are under way at once
    if (connectionId) this.posting--;
    if (status === 'reset') return request.socket.resetAndDestroy();
    const lost = status?.after; // it has its effect, but the answer is lost or late
    const [code, answer] = status && !lost ? [status, {}] : this[call.operation](call);
    if (lost === 'never') return;
    if (lost) await sleep(lost);
    response.writeHead(code, { 'content-type': 'application/json' });
    response.end(answer && JSON.stringify(answer));
  }

  Post({ connectionId, text }) {
    const inbox = this.received.get(connectionId);
    if (!inbox) return [410, { message: 'GoneException' }];
    inbox.push(text);
    return [200];
  }

  #put(item) {
    const id = item.connectionId.S;
    if (!this.#places.has(id)) this.#places.set(id, this.#places.size);
    this.table.set(id, item);
  }

  PutItem({ input }) {
    const { Item, ConditionExpression, ExpressionAttributeValues: values } = input;
    const token = this.table.get(Item.connectionId.S)?.token?.S;
    const mayBe = (name) => ConditionExpression.includes(name) && token === values[name].S;
    const mayBeNew = () => ConditionExpression.includes('attribute_not_exists') && token === undefined;
    if (ConditionExpression && !mayBe(':known') && !mayBe(':mine') && !mayBeNew()) {
      return [400, { __type: 'com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException' }];
    }
    this.#put(Item);
    return [200, {}];
  }

  GetItem({ input }) {
    return [200, { Item: this.table.get(input.Key.connectionId.S) }];
  }

  SendMessage({ input }) {
    const { MessageBody, MessageGroupId, MessageDeduplicationId: deduplication } = input;
    if (/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(MessageBody)) {
      return [400, { __type: 'com.amazonaws.sqs#InvalidMessageContents' }];
    }
    if (!this.queue.some((known) => known.deduplication === deduplication)) {
      const attributes = { SentTimestamp: String(Date.now()), ApproximateReceiveCount: '0', MessageGroupId };
      this.queue.push({ record: { messageId: randomUUID(), body: MessageBody, attributes }, deduplication, hidden: 0 });
    }
    return [200, {}];
  }

  ChangeMessageVisibilityBatch({ input }) {
    const Failed = [];
    for (const { Id, ReceiptHandle, VisibilityTimeout } of input.Entries) {
      const message = this.queue.find(({ record }) => record.receiptHandle === ReceiptHandle);
      if (message?.hidden > 0) message.hidden = VisibilityTimeout;
      else Failed.push({ Id, SenderFault: true, Code: 'ReceiptHandleIsInvalid' });
    }
    return [200, { Failed }];
  }

  /** What the mapping hands to the worker: the first messages of the group, unless some of it are out already. */
  receive(most = 10) {
    if (this.queue.some(({ hidden }) => hidden > 0)) throw new Error('messages of the group are out');
    return {
      Records: this.queue.slice(0, most).map((message) => {
        message.hidden = 300;
        const { attributes } = message.record;
        attributes.ApproximateReceiveCount = String(Number(attributes.ApproximateReceiveCount) + 1);
        message.record.receiptHandle = randomUUID();
        return structuredClone(message.record);
      }),
    };
  }

  /** What the mapping does afterwards: deletes what is not in the `failures`. */
  settle({ Records }, failures = []) {
    const back = new Set(failures.map(({ itemIdentifier }) => itemIdentifier));
    const done = new Set(Records.map(({ messageId }) => messageId).filter((id) => !back.has(id)));
    this.queue = this.queue.filter(({ record }) => !done.has(record.messageId));
  }

  /** `seconds` pass. */
  pass(seconds) {
    for (const message of this.queue) message.hidden = Math.max(0, message.hidden - seconds);
  }

  DeleteItem({ input }) {
    const id = input.Key.connectionId.S;
    const limit = input.ExpressionAttributeValues?.[':oldEnough'].N;
    const connectedAt = this.table.get(id)?.connectedAt?.N;
    if (limit !== undefined && connectedAt !== undefined && !(Number(connectedAt) <= Number(limit))) {
      return [400, { __type: 'com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException' }];
    }
    this.table.delete(id);
    return [200, {}];
  }

  Scan({ input }) {
    const { Segment, TotalSegments = 1 } = input;
    const all = [...this.table.keys()];
    const size = Math.ceil(all.length / TotalSegments);
    const ids = Segment === undefined ? all : all.slice(Segment * size, (Segment + 1) * size);
    const place = input.ExclusiveStartKey && this.#places.get(input.ExclusiveStartKey.connectionId.S);
    const from = place === undefined ? 0 : ids.filter((id) => this.#places.get(id) <= place).length;
    const { Limit = 10_000 } = input;
    const page = ids.slice(from, from + Limit);
    const more = from + Limit < ids.length;
    return [200, {
      Items: page.map((id) => this.table.get(id)),
      LastEvaluatedKey: more ? { connectionId: { S: page.at(-1) } } : undefined,
    }];
  }
}

/** What API Gateway hands to a handler for one frame of `connectionId`. */
export function event(connectionId, body) {
  const requestContext = { connectionId, apiId: 'api1', stage: 'prod', domainName: 'api1.execute-api.eu-central-1.amazonaws.com' };
  return { requestContext, body, isBase64Encoded: false };
}

export function context(milliseconds = 15_000) {
  const end = Date.now() + milliseconds;
  return { getRemainingTimeInMillis: () => end - Date.now() };
}
