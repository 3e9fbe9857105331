// The set-up of a measurement: the stand-in, the measured process, and what passes between them.

import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { governor } from './quota.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const LAMBDA = path.resolve(HERE, '../../lambda');

/** Sends an order to a process and resolves to its answer, or to nothing if it ends instead. */
function ask(child, order) {
  return new Promise((resolve) => {
    const settle = (answer) => {
      child.off('message', settle);
      child.off('exit', ended);
      resolve(answer);
    };
    const ended = () => settle(undefined);
    child.on('message', settle);
    child.on('exit', ended);
    child.send(order);
  });
}

export class Lab {
  governor = governor();

  static async open() {
    const lab = new Lab();
    lab.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'broadcast-'));
    const key = path.join(lab.folder, 'key.pem');
    lab.certificate = path.join(lab.folder, 'certificate.pem');
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    execFileSync('openssl', ['req', '-x509', ...curve, '-nodes', '-days', '2', ...subject, '-keyout', key, '-out', lab.certificate], { stdio: 'ignore' });
    lab.standin = fork(path.join(HERE, 'standin.mjs'), [key, lab.certificate]);
    const [{ port }] = await once(lab.standin, 'message');
    lab.releaseStandin = lab.governor.limit(lab.standin.pid, os.cpus().length);
    lab.endpoint = `https://127.0.0.1:${port}`;
    return lab;
  }

  async close() {
    this.standin.disconnect();
    await once(this.standin, 'exit');
    this.releaseStandin();
    fs.rmSync(this.folder, { recursive: true });
  }

  /** A copy of the handlers with other values for some of the constants of posting and reading. */
  variant(constants) {
    const folder = fs.mkdtempSync(path.join(this.folder, 'variant-'));
    fs.cpSync(LAMBDA, folder, { recursive: true });
    for (const [name, value] of Object.entries(constants)) {
      const declaration = new RegExp(`^const ${name} = .*;$`, 'm');
      const files = ['delivery.mjs', 'receivers.mjs'].map((file) => path.join(folder, file));
      const file = files.find((candidate) => declaration.test(fs.readFileSync(candidate, 'utf8')));
      if (!file) throw new Error(`the handlers have no constant ${name}`);
      fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(declaration, `const ${name} = ${value};`));
    }
    return path.join(folder, 'sendMessage.mjs');
  }

  /**
   * One execution environment: loads `file` on `cores` of a core, then invokes its export `name`
   * `invocations` times (the first of them is the cold one). What passes the time limit is killed,
   * as Lambda does, and so is what is to die after `killMs`. `goesOn`: with what another environment has left.
   * Resolves to `{load, runs}`.
   */
  async environment({ env, killMs, goesOn = false, file, name = 'handler', cores = 1, invocations = 2, limitMs = 15_000, event, table = { connections: 0, gonePercent: 0 }, latency, quota }) {
    const logFile = path.join(this.folder, 'log');
    const output = fs.openSync(logFile, 'w');
    const child = fork(path.join(HERE, 'measured.mjs'), {
      stdio: ['ignore', output, output, 'ipc'],
      env: {
        PATH: process.env.PATH,
        NODE_EXTRA_CA_CERTS: this.certificate,
        AWS_REGION: 'eu-central-1',
        AWS_ACCESS_KEY_ID: 'ASIAEXAMPLEEXAMPLE00',
        AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
        AWS_SESSION_TOKEN: 'x'.repeat(900), // about as long as Lambda's
        AWS_ENDPOINT_URL: this.endpoint,
        CHATCTL_CONNECTIONS_ENDPOINT: `${this.endpoint}/_aws/execute-api`,
        TABLE_NAME: 'chat-connections',
        ...env,
      },
    });
    fs.closeSync(output);
    await once(child, 'message');
    const release = this.governor.limit(child.pid, cores);
    const runs = [];
    const load = await ask(child, { load: { file, name } });
    while (!load.error && runs.length < invocations) {
      if (!goesOn) await ask(this.standin, { table, latency, quota });
      const sent = Number(process.hrtime.bigint()) / 1e6;
      const kill = setTimeout(() => child.kill('SIGKILL'), killMs ?? limitMs);
      const measured = await ask(child, { event, limitMs });
      clearTimeout(kill);
      const seen = await ask(this.standin, { report: true });
      const start = measured?.start ?? sent;
      runs.push({ ...measured, ...seen, killed: !measured, toFirst: seen.first - start, toLast: seen.last - start });
      if (!measured) break;
    }
    const log = fs.readFileSync(logFile, 'utf8');
    if (child.connected) child.disconnect();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    release();
    if (load.error) throw new Error(`${file}: ${load.error}`);
    return { load, runs, log };
  }
}

/** The event that API Gateway hands to sendMessage. */
export function message(data = 'hello, everyone') {
  const requestContext = { connectionId: `${'0'.padStart(15, 'A')}=`, apiId: 'api1', stage: 'prod', domainName: '127.0.0.1' };
  return { requestContext, body: JSON.stringify({ action: 'sendmessage', data }), isBase64Encoded: false };
}
