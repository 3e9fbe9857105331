// HTTP/1.1 over keep-alive sockets: as much of it as calling AWS needs.
//
// Why not node:https: a request through it costs twice the CPU of one through this file
// (docs/performance-broadcast.md), and CPU is what a small Lambda function is short of when one
// message goes out to thousands of connections.

import dns from 'node:dns';
import net from 'node:net';
import tls from 'node:tls';

// A connection that was idle for longer than this is not trusted: whatever lies between may have
// forgotten it without a word, above all while the environment was frozen (L15). Milliseconds.
const MAX_IDLE = 20_000;

// For so long a looked-up address is good. Milliseconds.
const ADDRESS_LIFETIME = 30_000;

const MAX_HEAD = 64 * 1024;
const EMPTY = Buffer.alloc(0);

/** Reads one response out of the bytes of a connection, however they are cut into chunks. */
export class ResponseParser {
  #bytes = EMPTY;
  #head;

  /** True once a byte of the response has been seen. */
  started = false;

  /** Takes the next bytes; returns `{status, head, body, reusable}` once the response is complete. */
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
    const { status, text, keepAlive } = this.#head;
    return { status, head: text, body, reusable: clean && keepAlive };
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
  return { status, text, keepAlive, chunked: chunked && !bodiless, length: bodiless ? 0 : chunked || length === undefined ? undefined : Number(length) };
}

/**
 * One request on its way. `answer` resolves, and never rejects, to `{status, head, body}` or to `{error}`;
 * `written` then says whether the other side may have got the request all the same.
 */
class Exchange {
  written = false;
  #settle;

  constructor(request) {
    this.request = request;
    this.answer = new Promise((resolve) => (this.#settle = resolve));
  }

  settle(answer) {
    this.connection = undefined;
    this.#settle(answer);
  }

  /** Gives it up: nothing more of it is sent, and `answer` says `reason`. Too late if it was answered. */
  abandon(reason) {
    this.connection?.destroy(new Error(reason));
  }
}

class Connection {
  #pool;
  #socket;
  #exchange;
  #parser;
  #failure;
  #abandoned = false;
  #ready = false;
  #answers = 0;
  #idleSince;

  constructor(pool) {
    this.#pool = pool;
    this.#socket = pool.connect();
    this.#socket.setNoDelay(true);
    this.#socket.once(pool.secure ? 'secureConnect' : 'connect', () => {
      this.#ready = true;
      if (this.#exchange) this.#write();
    });
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (error) => (this.#failure ??= error));
    this.#socket.on('close', () => this.#closed());
  }

  carry(exchange) {
    exchange.connection = this;
    this.#exchange = exchange;
    this.#parser = new ResponseParser();
    this.#socket.ref();
    if (this.#ready) this.#write();
  }

  destroy(reason) {
    this.#abandoned = true;
    this.#failure ??= reason;
    this.#socket.destroy();
  }

  /** Whether it was idle for so long that nobody can tell if it still leads anywhere. */
  get stale() {
    const [ticks, clock] = this.#idleSince;
    // Either may stand still while the environment is frozen.
    return performance.now() - ticks > MAX_IDLE || Date.now() - clock > MAX_IDLE;
  }

  // Not before the handshake is over, so that `written` is true of no request that is still here.
  #write() {
    this.#exchange.written = true;
    this.#socket.write(this.#exchange.request, 'latin1'); // one write: one TLS record, one packet
  }

  #receive(chunk) {
    if (!this.#exchange) return this.#socket.destroy(); // nothing was asked for
    try {
      const response = this.#parser.push(chunk);
      if (response) this.#finish(response);
    } catch (error) {
      this.#socket.destroy(error);
    }
  }

  #finish(response) {
    // What came before our request had been read is no answer to it, but to the silence before.
    if (response.status === 408 && this.#answers > 0) return this.#startOver();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#answers++;
    if (response.reusable) {
      this.#socket.unref(); // an idle connection keeps no process alive
      this.#idleSince = [performance.now(), Date.now()];
      this.#pool.idle.push(this);
    } else {
      this.#socket.destroy();
    }
    exchange.settle(response);
  }

  // The other side may close an idle connection at any moment, so a used one that ends in silence
  // is no failure yet. Those that idle beside it are as old.
  #startOver() {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#socket.destroy();
    for (const other of this.#pool.idle.splice(0)) other.destroy();
    exchange.written = false;
    new Connection(this.#pool).carry(exchange);
  }

  #closed() {
    const at = this.#pool.idle.indexOf(this);
    if (at >= 0) this.#pool.idle.splice(at, 1);
    if (!this.#ready) this.#pool.forgetAddress();
    if (!this.#exchange) return;
    if (this.#answers > 0 && !this.#parser.started && !this.#abandoned) return this.#startOver();
    const response = this.#failure ? undefined : this.#parser.end();
    if (response) return this.#finish(response);
    this.#exchange.settle({ error: this.#failure ?? new Error('the connection was closed before the answer') });
  }
}

class Pool {
  idle = [];
  secure;
  #options;
  #session;
  #addresses;
  #turn = 0;

  constructor({ protocol, hostname, port }) {
    const host = hostname.replace(/^\[|\]$/g, ''); // IPv6 literals come in brackets
    this.secure = protocol === 'https:';
    this.#options = {
      host,
      port: Number(port) || (this.secure ? 443 : 80),
      servername: net.isIP(host) ? '' : host,
      ALPNProtocols: ['http/1.1'],
      secureContext: this.secure ? tls.createSecureContext() : undefined,
      lookup: (name, options, found) => this.#lookup(name, options, found),
    };
  }

  connect() {
    if (!this.secure) return net.connect(this.#options);
    // A resumed TLS session spares each further connection the certificate check.
    const socket = tls.connect({ ...this.#options, session: this.#session });
    socket.on('session', (session) => (this.#session = session));
    return socket;
  }

  forgetAddress() {
    this.#addresses = undefined;
  }

  // Once for all connections, because a lookup occupies a thread, of which there are four.
  #lookup(name, options, found) {
    if (!this.#addresses || performance.now() - this.#addresses.since > ADDRESS_LIFETIME) {
      this.#addresses = { found: dns.promises.lookup(name, { all: true }), since: performance.now() };
    }
    const turn = this.#turn++;
    this.#addresses.found.then((addresses) => {
      const at = turn % addresses.length;
      const list = [...addresses.slice(at), ...addresses.slice(0, at)];
      if (options.all) found(null, list);
      else found(null, list[0].address, list[0].family);
    }, found);
  }

  send(exchange) {
    let connection;
    while ((connection = this.idle.pop())?.stale) connection.destroy();
    (connection ?? new Connection(this)).carry(exchange);
    return exchange;
  }
}

const pools = new Map();

/**
 * Sends one request with a body; returns the `Exchange`. Of the `URL` only the origin counts. `headers`
 * carry neither line breaks nor `content-length`. The `body` to send is a string with one character for
 * each byte. There is no timeout: whoever waits decides for how long.
 */
export function send(url, { method, path, headers, body }) {
  let pool = pools.get(url.origin);
  if (!pool) pools.set(url.origin, (pool = new Pool(url)));
  let head = `${method} ${path} HTTP/1.1\r\n`;
  for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
  return pool.send(new Exchange(`${head}content-length: ${body.length}\r\n\r\n${body}`));
}
