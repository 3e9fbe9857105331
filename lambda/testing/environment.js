// An execution environment as Lambda has them: a process of its own, which runs one invocation after the
// other and is frozen in between.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { event } from './aws.js';

export class Environment {
  #aws;
  #process;
  #outputs;

  constructor(t, aws, { name = 'sendMessage', environment = {} } = {}) {
    this.#aws = aws;
    const handler = new URL(`../${name}.mjs`, import.meta.url).href;
    const runtime = fileURLToPath(new URL('runtime.js', import.meta.url));
    const env = { PATH: process.env.PATH, AWS_LAMBDA_FUNCTION_NAME: name, ...aws.environment, ...environment };
    this.#process = fork(runtime, [handler], { env, silent: true });
    const { stdout, stderr } = this.#process;
    this.#outputs = [stdout, stderr].map((input) => createInterface({ input })[Symbol.asyncIterator]());
    t.after(() => this.#process.kill('SIGKILL'));
  }

  /** Runs the handler for one message. */
  say(from, data, options) {
    return this.invoke(event(from, JSON.stringify({ action: 'sendmessage', data })), options);
  }

  /** Ends the process where it stands; what runs in it is lost. */
  kill() {
    this.#process.kill('SIGKILL');
  }

  /**
   * Runs the handler and freezes the process when it has returned; resolves to what was `returned` or `thrown`,
   * and to the lines of `stdout` and `stderr`, or rejects if the process ends. `clock`: what the wall clock has
   * gone ahead, as it does over a freeze. Milliseconds.
   */
  async invoke(event, { time = 15_000, clock = 0 } = {}) {
    this.#process.kill('SIGCONT');
    this.#process.send({ event, time, clock });
    const [[result], stdout, stderr] = await Promise.all([once(this.#process, 'message'), ...this.#outputs.map(printed)]);
    this.#process.kill('SIGSTOP');
    await this.#aws.caughtUp();
    return { ...result, stdout, stderr };
  }
}

async function printed(lines) {
  const found = [];
  for (;;) {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the process ended, after ${found.join('\n')}`);
    if (value === 'END') return found.map((line) => JSON.parse(line));
    found.push(value);
  }
}
