// HTTP/1.1 over keep-alive sockets: as much of it as calling AWS needs.
//
// Why not node:https: a request through it costs twice the CPU of one through this file
// (docs/performance-broadcast.md), and CPU is what a small Lambda function is short of when one
// message goes out to thousands of connections.

import net from 'node:net';
import tls from 'node:tls';

// An answer that is silent for longer than this is not coming. Milliseconds.
const RESPONSE_TIMEOUT = 3_000;
const MAX_HEAD = 64 * 1024;
const EMPTY = Buffer.alloc(0);

/** Reads one response out of the bytes of a connection, however they are cut into chunks. */
export class ResponseParser {
  #bytes = EMPTY;
  #head;

  /** True once a byte of the response has been seen. */
  started = false;

  /** Takes the next bytes; returns `{status, body, reusable}` once the response is complete. */
  push(chunk) {
    this.started = true;
    if (this.#head?.length > 0) return this.#pushSized(chunk);
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    while (!this.#head) {
      const end = this.#bytes.indexOf('\r\n\r\n');
      if (end < 0) {
        if (this.#bytes.length > MAX_HEAD) throw new Error('the response has no end of headers');
        return undefined;
      }
      const head = parseHead(this.#bytes.toString('latin1', 0, end));
      const rest = this.#bytes.subarray(end + 4);
      this.#bytes = rest;
      if (head.status < 200) continue; // interim: the real response follows
      this.#head = head;
      if (head.length > 0) {
        this.#bytes = EMPTY;
        head.chunks = [];
        head.missing = head.length;
        return this.#pushSized(rest);
      }
    }
    if (this.#head.length === 0) return this.#done(EMPTY, this.#bytes.length === 0);
    if (this.#head.chunked) return this.#readChunked();
    return undefined; // the body lasts until the connection ends
  }

  /** The connection has ended; returns the response if its body was to last until here. */
  end() {
    const untilClose = this.#head && this.#head.length === undefined && !this.#head.chunked;
    return untilClose ? this.#done(this.#bytes, false) : undefined;
  }

  #pushSized(chunk) {
    const head = this.#head;
    head.chunks.push(chunk);
    head.missing -= chunk.length;
    if (head.missing > 0) return undefined;
    const bytes = head.chunks.length === 1 ? chunk : Buffer.concat(head.chunks);
    return this.#done(bytes.subarray(0, head.length), head.missing === 0);
  }

  #readChunked() {
    const bytes = this.#bytes;
    const parts = [];
    for (let at = 0; ; ) {
      const lineEnd = bytes.indexOf('\r\n', at);
      if (lineEnd < 0) return undefined;
      const size = /^[0-9a-f]+/i.exec(bytes.toString('latin1', at, lineEnd))?.[0];
      if (!size) throw new Error('the response has a malformed chunk');
      const length = Number.parseInt(size, 16);
      const start = lineEnd + 2;
      if (length === 0) {
        // Nothing in the trailers interests us; they end with an empty line.
        const noTrailers = bytes.toString('latin1', start, start + 2) === '\r\n';
        const end = noTrailers ? start + 2 : bytes.indexOf('\r\n\r\n', start) + 4;
        if (end < start + 2) return undefined;
        return this.#done(Buffer.concat(parts), end === bytes.length);
      }
      if (bytes.length < start + length + 2) return undefined;
      parts.push(bytes.subarray(start, start + length));
      at = start + length + 2;
    }
  }

  #done(body, clean) {
    return { status: this.#head.status, body, reusable: clean && this.#head.keepAlive };
  }
}

function parseHead(text) {
  const match = /^HTTP\/1\.([01]) (\d{3})/.exec(text);
  if (!match) throw new Error('the response is not HTTP/1.1');
  const status = Number(match[2]);
  const chunked = /^transfer-encoding:.*\bchunked[ \t]*$/im.test(text);
  const length = /^content-length:[ \t]*(\d+)[ \t]*$/im.exec(text)?.[1];
  const keepAlive = match[1] === '1' && !/^connection:.*\bclose\b/im.test(text);
  const bodiless = status === 204 || status === 304;
  return { status, keepAlive, chunked: chunked && !bodiless, length: bodiless ? 0 : chunked || length === undefined ? undefined : Number(length) };
}

class Connection {
  #pool;
  #socket;
  #parser;
  #settle;
  #failure;
  #slow = false;

  constructor(pool) {
    this.#pool = pool;
    this.#socket = pool.connect();
    this.#socket.setNoDelay(true);
    this.#socket.setTimeout(RESPONSE_TIMEOUT);
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('timeout', () => {
      if (!this.#settle) return;
      this.#slow = true;
      this.#socket.destroy(new Error(`no answer within ${RESPONSE_TIMEOUT} ms`));
    });
    this.#socket.on('error', (error) => (this.#failure = error));
    this.#socket.on('close', () => this.#closed());
  }

  /** Sends one request; resolves to the response, or to `{error, dropped}`. */
  exchange(request) {
    this.#parser = new ResponseParser();
    this.#socket.ref();
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#socket.write(request, 'latin1'); // one write: one TLS record, one packet
    });
  }

  #receive(chunk) {
    if (!this.#settle) return this.#socket.destroy(); // nothing was asked for
    try {
      const response = this.#parser.push(chunk);
      if (response) this.#finish(response);
    } catch (error) {
      this.#socket.destroy(error);
    }
  }

  #finish(response) {
    const settle = this.#settle;
    this.#settle = undefined;
    if (response.reusable) {
      this.#socket.unref(); // an idle connection keeps no process alive
      this.#pool.idle.push(this);
    } else {
      this.#socket.destroy();
    }
    settle(response);
  }

  #closed() {
    const at = this.#pool.idle.indexOf(this);
    if (at >= 0) this.#pool.idle.splice(at, 1);
    if (!this.#settle) return;
    const response = this.#failure ? undefined : this.#parser.end();
    if (response) return this.#finish(response);
    const error = this.#failure ?? new Error('the connection was closed before the answer');
    this.#settle({ error, dropped: !this.#parser.started && !this.#slow });
  }
}

class Pool {
  idle = [];
  #options;
  #secure;
  #session;

  constructor({ protocol, hostname, port }) {
    const host = hostname.replace(/^\[|\]$/g, ''); // IPv6 literals come in brackets
    this.#secure = protocol === 'https:';
    this.#options = {
      host,
      port: Number(port) || (this.#secure ? 443 : 80),
      servername: net.isIP(host) ? '' : host,
      ALPNProtocols: ['http/1.1'],
      secureContext: this.#secure ? tls.createSecureContext() : undefined,
    };
  }

  connect() {
    if (!this.#secure) return net.connect(this.#options);
    // A resumed TLS session spares each further connection the certificate check.
    const socket = tls.connect({ ...this.#options, session: this.#session });
    socket.on('session', (session) => (this.#session = session));
    return socket;
  }

  async request(request) {
    const reused = this.idle.pop();
    let outcome = await (reused ?? new Connection(this)).exchange(request);
    // The other side may close an idle connection at any moment, and a frozen Lambda environment
    // wakes up with a pool full of such. So a reused one that dies in silence is no failure yet.
    if (reused && outcome.dropped) {
      outcome = await new Connection(this).exchange(request);
    }
    if (outcome.error) throw outcome.error;
    return outcome;
  }
}

const pools = new Map();

/**
 * Sends one request with a body and resolves to `{status, body}`, the latter a `Buffer`; rejects
 * when no complete response came. Of the `URL` only the origin counts. `headers` carry neither line
 * breaks nor `content-length`. The `body` to send is a string with one character for each byte.
 */
export function send(url, { method, path, headers, body }) {
  let pool = pools.get(url.origin);
  if (!pool) pools.set(url.origin, (pool = new Pool(url)));
  let head = `${method} ${path} HTTP/1.1\r\n`;
  for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
  return pool.request(`${head}content-length: ${body.length}\r\n\r\n${body}`);
}
