// Gives a process a part of a core, as Lambda does by memory size: by a control group where the
// machine allows it, else by stopping and continuing the process.
//
// A group also gets more weight than the machine's other work has, because a part of a core that
// others take away shows up as time of the handler.

import fs from 'node:fs';
import os from 'node:os';

const PERIOD_US = 20_000;
const PREFIX = 'chatctl-bench-';

const VERSIONS = {
  'cgroup v2 cpu.max': ['/sys/fs/cgroup', (quota) => ({ 'cpu.max': `${quota} ${PERIOD_US}`, 'cpu.weight': 1_000 })],
  'cgroup v1 cpu.cfs_quota_us': ['/sys/fs/cgroup/cpu', (quota) => ({ 'cpu.cfs_period_us': PERIOD_US, 'cpu.cfs_quota_us': quota, 'cpu.shares': 10_240 })],
};

/** Returns `{method, limit(pid, cores) → release}`. */
export function governor() {
  for (const [method, [root, files]] of Object.entries(VERSIONS)) {
    if (!fs.existsSync(`${root}/cgroup.procs`)) continue;
    removeLeftovers(root);
    const create = (name, cores) => {
      const group = `${root}/${PREFIX}${name}`;
      fs.mkdirSync(group);
      const release = () => fs.rmdirSync(group);
      try {
        for (const [file, value] of Object.entries(files(Math.round(cores * PERIOD_US)))) fs.writeFileSync(`${group}/${file}`, String(value), { flag: 'r+' });
      } catch (error) {
        release();
        throw error;
      }
      return { group, release };
    };
    try {
      create(process.pid, os.cpus().length).release();
    } catch {
      continue; // not ours to write, or the cpu controller is not given to it
    }
    const limit = (pid, cores) => {
      const { group, release } = create(pid, cores);
      fs.writeFileSync(`${group}/cgroup.procs`, String(pid));
      return release;
    };
    return { method: `${method}, period ${PERIOD_US / 1000} ms`, limit };
  }
  return { method: 'SIGSTOP and SIGCONT, period 70 ms', limit: limitBySignals };
}

/** An interrupted run leaves its groups behind; one that is still in use cannot be removed. */
function removeLeftovers(root) {
  for (const name of fs.readdirSync(root).filter((entry) => entry.startsWith(PREFIX))) {
    try {
      fs.rmdirSync(`${root}/${name}`);
    } catch {
      continue;
    }
  }
}

function limitBySignals(pid, cores) {
  if (cores >= 1) return () => {};
  const period = 70;
  const timer = setInterval(() => {
    process.kill(pid, 'SIGCONT');
    setTimeout(() => process.kill(pid, 'SIGSTOP'), period * cores);
  }, period);
  return () => clearInterval(timer);
}
