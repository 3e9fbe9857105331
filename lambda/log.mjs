// What the functions tell CloudWatch.

/** One line, of which CloudWatch makes metrics. Straight to stdout: `console` would put words before it. */
export function count(numbers) {
  const Metrics = Object.keys(numbers).map((Name) => ({ Name, Unit: Name === 'ms' ? 'Milliseconds' : 'Count' }));
  const FunctionName = process.env.AWS_LAMBDA_FUNCTION_NAME ?? 'sendMessage';
  const CloudWatchMetrics = [{ Namespace: 'chatctl', Dimensions: [['FunctionName']], Metrics }];
  const line = { _aws: { Timestamp: Date.now(), CloudWatchMetrics }, FunctionName, ...numbers };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
