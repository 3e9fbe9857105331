// Gives a process a part of a core, as Lambda does by memory size: by a control group where the
// machine allows it, else by stopping and continuing the process.

import fs from 'node:fs';

const PERIOD_US = 20_000;

const VERSIONS = {
  'cgroup v2 cpu.max': ['/sys/fs/cgroup', (quota) => ({ 'cpu.max': `${quota} ${PERIOD_US}` })],
  'cgroup v1 cpu.cfs_quota_us': ['/sys/fs/cgroup/cpu', (quota) => ({ 'cpu.cfs_period_us': PERIOD_US, 'cpu.cfs_quota_us': quota })],
};

/** Returns `{method, limit(pid, cores) → release}`. */
export function governor() {
  for (const [method, [root, files]] of Object.entries(VERSIONS)) {
    const group = `${root}/chatctl-bench-${process.pid}`;
    const set = (cores) => {
      for (const [file, value] of Object.entries(files(Math.round(cores * PERIOD_US)))) fs.writeFileSync(`${group}/${file}`, String(value), { flag: 'r+' });
    };
    const release = () => fs.rmdirSync(group);
    if (!fs.existsSync(`${root}/cgroup.procs`)) continue;
    for (const name of fs.readdirSync(root)) {
      if (/^chatctl-bench-/.test(name)) fs.rmdirSync(`${root}/${name}`); // of a run that was interrupted
    }
    try {
      fs.mkdirSync(group);
    } catch {
      continue; // not for us to write
    }
    try {
      set(1);
    } catch {
      continue; // the cpu controller is not given to this group
    } finally {
      release();
    }
    const limit = (pid, cores) => {
      fs.mkdirSync(group);
      set(cores);
      fs.writeFileSync(`${group}/cgroup.procs`, String(pid));
      return release;
    };
    return { method: `${method}, period ${PERIOD_US / 1000} ms`, limit };
  }
  return { method: 'SIGSTOP and SIGCONT, period 70 ms', limit: limitBySignals };
}

function limitBySignals(pid, cores) {
  const period = 70;
  const timer = setInterval(() => {
    process.kill(pid, 'SIGCONT');
    if (cores < 1) setTimeout(() => process.kill(pid, 'SIGSTOP'), period * cores);
  }, period);
  return () => clearInterval(timer);
}
