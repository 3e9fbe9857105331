// The worker behind the queue, measured: `node benches/broadcast/queue.mjs [--quick]`. It writes its tables into
// docs/performance-broadcast.md; with `--quick` it is a smoke run of small sizes, tables on stdout, nothing written.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { LAMBDA, Lab } from './lab.mjs';

const PAGE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../docs/performance-broadcast.md');
const QUICK = process.argv.includes('--quick');
const RATE = 5_000;
const LIMIT_MS = 300_000; // the worker's time
const SIZES = QUICK ? [1_000, 20_000] : [10_000, 100_000, 1_000_000];
const MIDDLE = QUICK ? 20_000 : 100_000;
const LARGEST = SIZES.at(-1);

const lab = await Lab.open();
const before = os.loadavg()[0];
const rows = [];
try {
  for (const connections of SIZES) await row(`${int(connections)} connections`, { connections });
  await row('10 senders at once', { connections: MIDDLE / 10, messages: 10 });
  await row('1 % mute', { connections: MIDDLE, mutePercent: 1 });
  await row('5 % gone', { connections: MIDDLE, gonePercent: 5 });
  await row('quota of 2,500 a second', { connections: MIDDLE, quota: { rate: 2_500, burst: 1_250 } });
  await row('SIGKILL every 1 to 5 s', { connections: MIDDLE, lives: [1_000, 5_000] });
  if (!QUICK) await row('SIGKILL every 5 to 40 s', { connections: LARGEST, lives: [5_000, 40_000] });
} finally {
  await lab.close();
}
publish();

/** One batch, by as many environments as it takes. */
async function row(name, { connections, gonePercent = 0, mutePercent = 0, messages = 1, quota, lives }) {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${name}\n`);
  const table = { connections, gonePercent, mutePercent, messages };
  const event = { Records: Array.from({ length: messages }, record) };
  const env = { QUEUE_URL: 'https://sqs.eu-central-1.amazonaws.com/111122223333/chat-messages.fifo', DELIVERY_RATE: String(RATE) };
  const order = { file: path.join(LAMBDA, 'broadcast.mjs'), env, event, limitMs: LIMIT_MS, invocations: 1, table, quota, latency: 10 };
  let [kills, cpuMs, peakMB, start] = [0, 0, 0];
  for (let goesOn = false; ; goesOn = true) {
    const killMs = lives && lives[0] + Math.random() * (lives[1] - lives[0]);
    const { runs: [run] } = await lab.environment({ ...order, goesOn, killMs });
    start ??= run.toLast === undefined ? undefined : run.last - run.toLast;
    cpuMs += run.cpuMs ?? 0;
    peakMB = Math.max(peakMB, run.peakMB ?? 0);
    if (run.error) throw new Error(run.error);
    if (run.killed) kills++;
    if (!run.killed && run.left === 0) {
      rows.push({ name, connections, messages, kills, cpuMs, peakMB, seconds: (run.last - start) / 1_000, ...pick(run) });
      return;
    }
  }
}

function record(_, i) {
  const body = JSON.stringify({ apiId: 'api1', domainName: '127.0.0.1', stage: 'prod', text: `hello, everyone, ${i}` });
  const attributes = { SentTimestamp: String(Date.now()), ApproximateReceiveCount: '1', MessageGroupId: 'chat' };
  return { messageId: `message-${i}`, receiptHandle: `handle-${i}`, body, attributes };
}

function pick({ reached, living, twice, posts, throttled }) {
  return { reached, living, twice, posts, throttled };
}

function int(value) {
  return Math.round(value).toLocaleString('en');
}

function publish() {
  const head = ['case', 'connections', 'posts', 'time', 'against posts ÷ rate', 'lost', 'twice', 'answered 429', 'CPU per post', 'peak MB'];
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const lines = rows.map(({ name, kills, connections, posts, seconds, living, reached, twice, throttled, cpuMs, peakMB }) => {
    // Of those that were killed nobody knows CPU and memory.
    const [cpu, memory] = kills > 0 ? ['–', '–'] : [`${(cpuMs / posts).toFixed(3)} ms`, int(peakMB)];
    const told = kills > 0 ? `${name} (${kills} times)` : name;
    return line([told, int(connections), int(posts), `${seconds.toFixed(1)} s`, `${(seconds / (posts / RATE)).toFixed(2)} ×`, int(living - reached), int(twice), int(throttled), cpu, memory]);
  });
  const [cpu] = os.cpus();
  const on = `Measured ${new Date().toISOString().slice(0, 10)} on ${cpu.model.trim()}, ${os.cpus().length} cores, Node ${process.version}; load average ${before.toFixed(1)} before, ${os.loadavg()[0].toFixed(1)} after. ${int(RATE)} posts a second at most, 10 ms a call.`;
  const text = [on, '', line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...lines, ''].join('\n');
  console.log(text);
  if (QUICK) return;
  const [begin, end] = ['<!-- queue: begin -->', '<!-- queue: end -->'];
  const page = fs.readFileSync(PAGE, 'utf8');
  fs.writeFileSync(PAGE, `${page.slice(0, page.indexOf(begin) + begin.length)}\n\n${text}\n${page.slice(page.indexOf(end))}`);
}
