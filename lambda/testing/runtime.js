// A small Lambda runtime: the process that `Environment` (environment.js) starts. One invocation after the
// other, each ended by a line on both outputs, because what was printed belongs to an invocation.

const { handler } = await import(process.argv[2]);
const now = Date.now;

process.on('message', async ({ event, time, clock }) => {
  Date.now = () => now() + clock;
  const end = performance.now() + time;
  const result = {};
  try {
    result.returned = await handler(event, { getRemainingTimeInMillis: () => end - performance.now() });
  } catch (error) {
    result.thrown = error.message;
  }
  process.stdout.write('END\n');
  process.stderr.write('END\n');
  process.send(result);
});
