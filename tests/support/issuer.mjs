// The issuer of the handlers' tests (lambda/testing/issuer.js) as a process, told by lines of JSON what to do. It has the
// keys `one` and `two`, publishes `one`, and ends at the end of its stdin.

import { createInterface } from 'node:readline';
import { StandInIssuer, makeKey, makeToken } from '../../lambda/testing/issuer.js';

const issuer = await StandInIssuer.serve({ after() {} });
const keys = { one: makeKey('ES256', 'one'), two: makeKey('EdDSA', 'two') };
issuer.keys = [keys.one];
console.log(issuer.url);
for await (const line of createInterface({ input: process.stdin })) {
  const { sign, by, publish } = JSON.parse(line);
  if (publish) issuer.keys = publish.map((name) => keys[name]);
  console.log(sign ? makeToken(keys[by], issuer.claims(sign)) : '');
}
issuer.stop();
