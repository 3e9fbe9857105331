// The broadcast, measured: `node benches/broadcast/run.mjs [--quick | --only PART,…]`. What it measures
// and what came out is told in docs/performance-broadcast.md, whose tables, with the plots, this script
// writes. `--quick` is a smoke run: one repetition, small sizes, tables on stdout, nothing written.
// `--only` measures these parts anew, takes the others from results.json, and writes everything.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { LAMBDA, Lab, message } from './lab.mjs';
import { charts } from './svg.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const DOCS = path.resolve(HERE, '../../docs');
const QUICK = process.argv.includes('--quick');
const ONLY = process.argv.includes('--only') ? process.argv.at(-1).split(',') : undefined;
const REPEATS = QUICK ? 1 : 3;
const SIZES = QUICK ? [10, 100, 1_000] : [10, 100, 1_000, 10_000, 50_000];
const MEMORY = QUICK ? [256, 1_769] : [256, 384, 512, 768, 1_024, 1_769];
const FULL_CORE_MB = 1_769; // Lambda: at this memory size a function has one vCPU, and less in proportion
const LIMIT_MS = 15_000; // the deployment's time limit for sendMessage

const OURS = path.join(LAMBDA, 'sendMessage.mjs');
const PLAIN = path.join(HERE, 'plain.mjs');
const CLIENTS = path.join(HERE, 'clients.mjs');
const RESULTS = path.join(HERE, 'results.json');

if (!fs.existsSync(path.join(HERE, 'node_modules'))) execFileSync('npm', ['ci', '--prefix', HERE], { stdio: 'inherit' });
process.setMaxListeners(0);

const lab = await Lab.open();
const parts = { clients, sizes, quotas, memory, concurrency, cold, pages, throttled, imports };
const results = { ...(ONLY && JSON.parse(fs.readFileSync(RESULTS, 'utf8'))), machine: machine(), started: new Date().toISOString() };
try {
  for (const [name, part] of Object.entries(parts)) {
    if (ONLY && !ONLY.includes(name)) continue;
    process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${name}\n`);
    results[name] = await part();
  }
} finally {
  await lab.close();
}
results.machine.loadAfter = os.loadavg().map((value) => Number(value.toFixed(1)));
const tables = write(results);
console.log(tables);
if (!QUICK) publish(tables);

// ---- measuring ------------------------------------------------------------------------------------

function machine() {
  const [cpu] = os.cpus();
  return {
    cpu: cpu.model.trim(),
    cores: os.cpus().length,
    memoryGB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    quota: lab.governor.method,
    loadBefore: os.loadavg().map((value) => Number(value.toFixed(1))),
  };
}

function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Medians over the repetitions, of an environment's first message (cold) and of its last one (warm). */
async function broadcast({ file = OURS, connections, gonePercent = 0, ...rest }) {
  const invocations = connections <= 1_000 ? 6 : 2;
  const order = { file, event: message(), limitMs: LIMIT_MS, invocations, table: { connections, gonePercent }, ...rest };
  const environments = [];
  for (let i = 0; i < REPEATS; i++) environments.push(await lab.environment(order));
  const summary = (runs) => {
    const of = (key) => median(runs.map((run) => run[key]));
    const posts = of('posts');
    const [reached, living] = [of('reached'), of('living')];
    return {
      ms: of('ms'), first: of('toFirst'), last: of('toLast'), reached, living, complete: reached === living,
      posts, throttled: of('throttled'), twice: of('twice'), peakRate: of('peakRate'), sockets: of('sockets'),
      cpuMs: of('cpuMs'), cpuPerPost: of('cpuMs') / posts, rate: (reached / of('toLast')) * 1000, peakMB: of('peakMB'),
    };
  };
  const colds = environments.map(({ runs }) => runs[0]);
  const warms = environments.map(({ runs }) => runs[invocations - 1]).filter(Boolean);
  return { connections, gonePercent, cold: summary(colds), warm: warms.length > 0 ? summary(warms) : undefined };
}

async function clients() {
  const count = QUICK ? 1_000 : 10_000;
  const rows = [];
  for (const name of ['lean', 'https', 'sdk']) {
    const event = { lambda: LAMBDA, count, data: 'hello, everyone' };
    const { cold: first, warm } = await broadcast({ file: CLIENTS, name, event, connections: count, limitMs: 60_000 });
    rows.push({ name, first: first.cpuPerPost, warm: warm.cpuPerPost, rate: warm.rate });
  }
  return rows;
}

async function sizes() {
  const rows = [];
  for (const gonePercent of [0, 20]) {
    for (const connections of SIZES) {
      const ours = await broadcast({ connections, gonePercent });
      const plain = await broadcast({ file: PLAIN, connections, gonePercent });
      rows.push({ connections, gonePercent, ours, plain });
    }
  }
  return rows;
}

async function quotas() {
  const rows = [];
  for (const [label, cores] of Object.entries({ '1/7': 1 / 7, '1/2': 1 / 2 })) {
    for (const connections of SIZES.filter((size) => size >= 100)) {
      const ours = await broadcast({ connections, cores });
      const plain = await broadcast({ file: PLAIN, connections, cores });
      rows.push({ label, connections, ours, plain });
    }
  }
  const whole = results.sizes.filter(({ connections, gonePercent }) => connections >= 100 && gonePercent === 0);
  return [...rows, ...whole.map((row) => ({ label: '1', ...row }))];
}

async function memory() {
  const rows = [];
  for (const megabytes of MEMORY) {
    for (const connections of SIZES.filter((size) => size >= 100)) {
      const { cold: first, warm } = await broadcast({ connections, cores: megabytes / FULL_CORE_MB });
      const cost = (run) => (run ? (run.ms / 1000) * (megabytes / 1024) : undefined); // GB-s
      rows.push({ megabytes, connections, cold: first, warm, coldCost: cost(first), warmCost: cost(warm) });
    }
  }
  return rows;
}

async function concurrency() {
  const rows = [];
  for (const latency of [10, 30]) {
    for (const cores of [512 / FULL_CORE_MB, 1]) {
      for (const CONCURRENCY of [50, 100, 200]) {
        const { warm } = await broadcast({ file: lab.variant({ CONCURRENCY }), connections: SIZES.at(-2), cores, latency });
        rows.push({ latency, cores, concurrency: CONCURRENCY, warm });
      }
    }
  }
  return rows;
}

async function cold() {
  const rows = [];
  for (const cores of [256 / FULL_CORE_MB, 512 / FULL_CORE_MB, 1]) {
    for (const connections of [100, 1_000]) {
      for (const RECEIVERS_PER_CONNECTION of [1, 2, 5, 10]) {
        const run = await broadcast({ file: lab.variant({ RECEIVERS_PER_CONNECTION }), connections, cores });
        rows.push({ cores, connections, receiversPerConnection: RECEIVERS_PER_CONNECTION, ...run });
      }
    }
  }
  return rows;
}

async function pages() {
  const rows = [];
  for (const PAGE_ROWS of [500, 1_000, 16_000]) {
    const { cold: first, warm } = await broadcast({ file: lab.variant({ PAGE_ROWS }), connections: SIZES.at(-1) });
    rows.push({ pageRows: PAGE_ROWS, cold: first, warm });
  }
  return rows;
}

async function throttled() {
  const rows = [];
  for (const quota of [{ rate: 10_000, burst: 5_000 }, { rate: 2_500, burst: 1_250 }]) {
    for (const cores of [512 / FULL_CORE_MB, 1]) {
      const { cold: first } = await broadcast({ connections: SIZES.at(-2), cores, quota, latency: 5, invocations: 1 });
      rows.push({ ...quota, cores, cold: first });
    }
  }
  return rows;
}

async function imports() {
  const files = {
    'onConnect.mjs': path.join(LAMBDA, 'onConnect.mjs'),
    'onDisconnect.mjs': path.join(LAMBDA, 'onDisconnect.mjs'),
    'sendMessage.mjs': OURS,
    'SDK v3: client-dynamodb': import.meta.resolve('@aws-sdk/client-dynamodb'),
    'SDK v3: what the plain handler imports': PLAIN,
  };
  const rows = [];
  for (const [name, file] of Object.entries(files)) {
    const row = { name };
    for (const [label, cores] of [['full', 1], ['seventh', 1 / 7]]) {
      const loads = [];
      for (let i = 0; i < (QUICK ? 3 : 9); i++) loads.push((await lab.environment({ file, cores, invocations: 0 })).load);
      row[label] = { ms: median(loads.map(({ ms }) => ms)), cpuMs: median(loads.map(({ cpuMs }) => cpuMs)) };
    }
    rows.push(row);
  }
  return rows;
}

// ---- telling --------------------------------------------------------------------------------------

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line), ''].join('\n');
}

function write({ machine: on, started, ...r }) {
  const int = (value) => (!Number.isFinite(value) ? '–' : Math.round(value).toLocaleString('en'));
  const fixed = (value, digits) => (!Number.isFinite(value) ? '–' : value.toFixed(digits));
  const times = (value) => `${fixed(value, 2)} ×`;
  // The time to the last receiver, or how far it came.
  const outcome = (run) => (!run ? '–' : run.complete ? `${int(run.last)} ms` : `${int(run.reached)} of ${int(run.living)}`);
  const percent = (cores) => `${Math.round(cores * 100)} %`;
  const lean = r.clients[0].warm;
  const names = { lean: 'ours (`lambda/http.mjs`)', https: '`node:https`, our signatures', sdk: 'SDK v3' };
  return [
    `Measured ${started.slice(0, 10)} on ${on.cpu}, ${on.cores} cores, ${on.memoryGB} GB, ${on.system}, Node ${on.node}; load average ` +
      `${on.loadBefore[0]} before, ${on.loadAfter[0]} after. CPU quota: ${on.quota}. Medians of ${REPEATS}. Every call takes 10 ms at the stand-in, over TLS.`,
    '',
    '### CPU for each post, by client',
    '',
    table(
      ['client, 100 posts at a time', 'CPU per post', 'of the first 10,000', 'against ours'],
      r.clients.map((row) => [names[row.name], `${fixed(row.warm, 3)} ms`, `${fixed(row.first, 3)} ms`, times(row.warm / lean)]),
    ),
    '### One core, all sizes',
    '',
    'Time to the last receiver, warm (cold); where the 15 s are not enough or the single page ends: how many were reached. Cold is the first message of an environment, warm the sixth, above 1,000 connections the second. The floor is connections ÷ 100 at once × 10 ms, without the read of the table.',
    '',
    table(
      ['connections', 'gone', 'ours', 'against the floor', 'plain', 'ahead by', 'first receiver, ours / plain', 'posts/s, ours / plain', 'CPU per post, ours / plain', 'peak MB, ours / plain'],
      r.sizes.map(({ connections, gonePercent, ours, plain }) => {
        const other = plain.warm ?? plain.cold;
        const ahead = other.complete ? times(other.last / ours.warm.last) : 'plain incomplete';
        const pair = (show, key) => `${show(ours.warm[key])} / ${show(other[key])}`;
        return [
          int(connections), `${gonePercent} %`, `${outcome(ours.warm)} (${outcome(ours.cold)})`, times(ours.warm.last / ((connections / 100) * 10)), `${outcome(plain.warm)} (${outcome(plain.cold)})`, ahead,
          `${pair(int, 'first')} ms`, pair(int, 'rate'), `${pair((value) => fixed(value, 3), 'cpuPerPost')} ms`, pair(int, 'peakMB'),
        ];
      }),
    ),
    '### Parts of a core',
    '',
    table(
      ['core', 'connections', 'ours, warm', 'ours, cold', 'plain, warm', 'plain, cold'],
      r.quotas.map(({ label, connections, ours, plain }) => [label, int(connections), outcome(ours.warm), outcome(ours.cold), outcome(plain.warm), outcome(plain.cold)]),
    ),
    '### Memory size: time and cost',
    '',
    table(
      ['memory', 'core', 'connections', 'warm', 'warm, GB-s', 'cold', 'cold, GB-s'],
      r.memory.map((row) => [
        `${int(row.megabytes)} MB`, percent(row.megabytes / FULL_CORE_MB), int(row.connections),
        outcome(row.warm), fixed(row.warmCost, 3), outcome(row.cold), fixed(row.coldCost, 3),
      ]),
    ),
    `### Posts at once (\`CONCURRENCY\`), ${int(SIZES.at(-2))} connections`,
    '',
    table(
      ['latency', 'core', 'at once', 'warm', 'most posts in a second', 'CPU per post'],
      r.concurrency.map((row) => [
        `${row.latency} ms`, percent(row.cores), row.concurrency, outcome(row.warm), int(row.warm.peakRate), `${fixed(row.warm.cpuPerPost, 3)} ms`,
      ]),
    ),
    '### Receivers for each connection (`RECEIVERS_PER_CONNECTION`)',
    '',
    table(
      ['core', 'connections', 'receivers each', 'cold', 'warm', 'sockets opened cold'],
      r.cold.map((row) => [percent(row.cores), int(row.connections), row.receiversPerConnection, outcome(row.cold), outcome(row.warm), int(row.cold.sockets)]),
    ),
    `### Rows a page (\`PAGE_ROWS\`), ${int(SIZES.at(-1))} connections`,
    '',
    table(
      ['rows', 'warm', 'first receiver, cold', 'peak MB'],
      r.pages.map((row) => [int(row.pageRows), outcome(row.warm), `${int(row.cold.first)} ms`, int((row.warm ?? row.cold).peakMB)]),
    ),
    `### Under the account's quota (429 beyond it), 5 ms latency, ${int(SIZES.at(-2))} connections, cold`,
    '',
    table(
      ['quota: rate, burst', 'core', 'outcome', 'answered 429', 'received twice'],
      r.throttled.map((row) => [`${int(row.rate)}/s, ${int(row.burst)}`, percent(row.cores), outcome(row.cold), int(row.cold.throttled), int(row.cold.twice)]),
    ),
    '### Cold start: importing the handler',
    '',
    table(
      ['module', 'one core', 'CPU', '1/7 of a core'],
      r.imports.map(({ name, full, seventh }) => [name, `${fixed(full.ms, 1)} ms`, `${fixed(full.cpuMs, 1)} ms`, `${fixed(seventh.ms, 1)} ms`]),
    ),
  ].join('\n');
}

function publish(text) {
  fs.mkdirSync(DOCS, { recursive: true });
  fs.writeFileSync(RESULTS, `${JSON.stringify(results, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(5)) : value), 1)}\n`);

  const whole = results.sizes.filter(({ gonePercent }) => gonePercent === 0);
  const line = (name, rows, value) => ({ name, points: rows.map((row) => [row.connections, value(row)]).filter((point) => point.every(Number.isFinite)) });
  const warm = ({ warm: run, cold: first }) => run ?? first;
  const finished = whole.filter(({ plain }) => warm(plain).complete);
  const sizesPlot = charts([
    {
      title: 'Time to the last receiver, one core', x: 'connections', y: 'ms', logX: true, logY: true,
      series: [line('ours', whole, ({ ours }) => warm(ours).last), line('plain (while complete)', finished, ({ plain }) => warm(plain).last)],
    },
    {
      title: 'Peak memory of the process', x: 'connections', y: 'MB', logX: true,
      series: [line('ours', whole, ({ ours }) => warm(ours).peakMB), line('plain', whole, ({ plain }) => warm(plain).peakMB)],
    },
  ]);
  fs.writeFileSync(path.join(DOCS, 'broadcast-sizes.svg'), sizesPlot);

  const curve = (value) =>
    SIZES.map((size) => ({
      name: `${size.toLocaleString('en')} connections`,
      points: results.memory.filter((row) => row.connections === size && row.warm?.complete).map((row) => [row.megabytes, value(row)]),
    })).filter(({ points }) => points.length > 1);
  const memoryPlot = charts([
    { title: 'Time to the last receiver, warm', x: 'memory, MB', y: 'ms', logY: true, series: curve((row) => row.warm.last) },
    { title: 'Cost of the message, warm', x: 'memory, MB', y: 'GB-s', logY: true, series: curve((row) => row.warmCost) },
  ]);
  fs.writeFileSync(path.join(DOCS, 'broadcast-memory.svg'), memoryPlot);

  const page = path.join(DOCS, 'performance-broadcast.md');
  const [begin, end] = ['<!-- tables: begin -->', '<!-- tables: end -->'];
  const before = fs.existsSync(page) ? fs.readFileSync(page, 'utf8') : `# The broadcast, measured\n\n${begin}\n${end}\n`;
  const [head, tail] = [before.slice(0, before.indexOf(begin) + begin.length), before.slice(before.indexOf(end))];
  fs.writeFileSync(page, `${head}\n\n${text}\n${tail}`);
}
