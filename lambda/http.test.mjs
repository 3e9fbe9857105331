import assert from 'node:assert/strict';
import dns from 'node:dns';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ResponseParser, send } from './http.mjs';

const RESPONSES = {
  'a body of known length': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 200, 'hello', true],
  'no body': ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-amzn-requestid: 1\r\n\r\n', 200, '', true],
  'an error': ['HTTP/1.1 410 Gone\r\ncontent-length:2 \r\n\r\n{}', 410, '{}', true],
  'no content': ['HTTP/1.1 204 No Content\r\n\r\n', 204, '', true],
  'no reason': ['HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\nx', 200, 'x', true],
  chunks: ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n', 200, 'hello0123456789', true],
  'chunks with trailers': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\na: b\r\nc: d\r\n\r\n', 200, '\r\n', true],
  'chunks, whatever length is claimed': ['HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n', 200, 'x', true],
  'an interim response first': ['HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok', 200, 'ok', true],
  'a close': ['HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 2\r\n\r\nok', 200, 'ok', false],
  'an old server': ['HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok', 200, 'ok', false],
  'a body until the end': ['HTTP/1.1 200 OK\r\n\r\nall of it', 200, 'all of it', false],
  'bytes of the body like headers': ['HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\ncontent-length: 1\r\n\r\nxx', 200, 'content-length: 1\r\n\r\nxx', true],
};

function parse(chunks) {
  const parser = new ResponseParser();
  for (const chunk of chunks) {
    const response = parser.push(Buffer.from(chunk, 'latin1'));
    if (response) return response;
  }
  return parser.end();
}

for (const [name, [text, status, body, reusable]] of Object.entries(RESPONSES)) {
  test(`a response with ${name}, cut anywhere`, () => {
    const cuts = [[...text]];
    for (let at = 0; at <= text.length; at++) {
      cuts.push([text.slice(0, at), text.slice(at)].filter(Boolean));
      cuts.push([text.slice(0, at), text.slice(at, at + 3), text.slice(at + 3)].filter(Boolean));
    }
    for (const chunks of cuts) {
      const response = parse(chunks);
      assert.equal(response.status, status);
      assert.equal(response.body.toString('latin1'), body);
      assert.equal(response.reusable, reusable);
    }
  });
}

test('a connection with more bytes than the response is not used again', () => {
  assert.equal(parse(['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1']).reusable, false);
  assert.equal(parse(['HTTP/1.1 204 No Content\r\n\r\nx']).reusable, false);
});

test('what is no response is refused', () => {
  assert.throws(() => parse(['SSH-2.0-OpenSSH\r\n\r\n']));
  assert.throws(() => parse(['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n']));
  assert.throws(() => parse(['x'.repeat(70_000)]));
  assert.equal(parse(['HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut']), undefined);
});

async function serve(t, onRequest) {
  const connections = [];
  const server = net.createServer((socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    socket.on('data', () => onRequest(socket, connections.length));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    connections.forEach((socket) => socket.destroy());
    server.close();
  });
  const url = new URL(`http://127.0.0.1:${server.address().port}`);
  const exchange = () => send(url, { method: 'POST', path: '/', headers: { host: url.host }, body: 'x' });
  const get = () => exchange().answer;
  return { connections, exchange, get, url };
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

test('a connection is used again', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK));
  for (let i = 0; i < 5; i++) assert.equal((await server.get()).body.toString(), 'ok');
  assert.equal(server.connections.length, 1);
});

test('idle connections that died in silence cost nothing but a new connection', async (t) => {
  let frozen = false;
  const server = await serve(t, (socket, connections) => {
    if (frozen && connections === 3) socket.resetAndDestroy();
    else socket.write(OK);
  });
  await Promise.all([server.get(), server.get(), server.get()]);
  frozen = true;
  assert.equal((await server.get()).status, 200);
  assert.equal(server.connections.length, 4);
});

test('a connection closed by the server while idle is forgotten', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK));
  await server.get();
  server.connections[0].end();
  await once(server.connections[0], 'close');
  assert.equal((await server.get()).status, 200);
  assert.equal(server.connections.length, 2);
});

test('a new connection that dies is an error, and so is half an answer', async (t) => {
  const dead = await serve(t, (socket) => socket.resetAndDestroy());
  assert.equal((await dead.get()).error.code, 'ECONNRESET');
  const half = await serve(t, (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal'));
  assert.match((await half.get()).error.message, /closed before the answer/);
  const wrong = await serve(t, (socket) => socket.write('220 smtp ready\r\n\r\n'));
  assert.match((await wrong.get()).error.message, /not HTTP/);
});

test('what is given up ends its connection, and says whether it was written', async (t) => {
  const server = await serve(t, () => {});
  const unwritten = server.exchange();
  unwritten.abandon('enough');
  assert.equal((await unwritten.answer).error.message, 'enough');
  assert.equal(unwritten.written, false);
  const { promise: heard, resolve } = Promise.withResolvers?.() ?? later();
  const listening = await serve(t, resolve);
  const written = listening.exchange();
  await heard;
  written.abandon('enough');
  assert.equal((await written.answer).error.message, 'enough');
  assert.equal(written.written, true);
});

function later() {
  const parts = {};
  parts.promise = new Promise((resolve) => (parts.resolve = resolve));
  return parts;
}

test('a connection that was idle for long is not used again, whichever clock tells (L15)', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK));
  await server.get();
  const clock = Date.now();
  t.mock.method(Date, 'now', () => clock + 25_000);
  assert.equal((await server.get()).status, 200);
  assert.equal(server.connections.length, 2);
});

test('a 408 on a used connection is no answer to what was just sent', async (t) => {
  let used = false;
  const server = await serve(t, (socket, connections) => {
    socket.write(used && connections === 1 ? 'HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n' : OK);
    used = true;
  });
  await server.get();
  assert.equal((await server.get()).status, 200);
  assert.equal(server.connections.length, 2);
});

test('a host is looked up once for many connections', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK));
  const lookup = t.mock.method(dns.promises, 'lookup', async () => [{ address: '127.0.0.1', family: 4 }]);
  const url = new URL(server.url);
  url.hostname = 'localhost';
  const gets = Array.from({ length: 20 }, () => send(url, { method: 'POST', path: '/', headers: {}, body: 'x' }).answer);
  for (const { status } of await Promise.all(gets)) assert.equal(status, 200);
  assert.equal(lookup.mock.callCount(), 1);
});

test('bytes nobody asked for end the connection', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK));
  await server.get();
  server.connections[0].write('HTTP/1.1 408 Request Timeout\r\n\r\n');
  await once(server.connections[0], 'close');
  assert.equal((await server.get()).status, 200);
});

test('idle connections keep no process alive', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK));
  const script = `
    import { send } from ${JSON.stringify(new URL('http.mjs', import.meta.url).href)};
    const { status } = await send(new URL('${server.url}'), { method: 'POST', path: '/', headers: {}, body: 'x' }).answer;
    console.log(status);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  assert.equal(stdout, '200\n');
});
