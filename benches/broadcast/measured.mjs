// The process that is measured: one execution environment of a Lambda function. It imports what it is
// told to, then is invoked as often as it is told to, and reports its own CPU time and peak memory.

const now = () => Number(process.hrtime.bigint()) / 1e6; // CLOCK_MONOTONIC: one clock for all processes
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function timed(work) {
  const start = now();
  const startCpu = cpu();
  const [returned, error] = await work().then(
    (value) => [value],
    (failure) => [undefined, String(failure)],
  );
  // What a worker hands back is to be continued.
  return { left: returned?.batchItemFailures?.length, start, ms: now() - start, cpuMs: cpu() - startCpu, peakMB: process.resourceUsage().maxRSS / 1024, error };
}

let run;

process.on('message', async (order) => {
  if (order.load) {
    const { file, name } = order.load;
    process.send(await timed(async () => (run = (await import(file))[name])));
  } else {
    const end = now() + order.limitMs;
    const context = { getRemainingTimeInMillis: () => end - now() };
    process.send(await timed(async () => run(order.event, context)));
  }
});
process.on('disconnect', () => process.exit());
process.send({ up: true });
