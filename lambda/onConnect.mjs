// $connect: remembers the connection. It does nothing else, because the connection takes no
// messages before this handler has answered (H2).

import { dynamodb } from './aws.mjs';

// A connection lives for 2 hours at most (H1); its row a little longer, then TTL removes it
// should $disconnect never come (H4). Seconds.
const ROW_LIFETIME = 2 * 3600 + 600;

export async function handler({ requestContext, headers = {} }) {
  const now = Math.floor(Date.now() / 1000);
  const principal = requestContext.authorizer?.principalId; // who an authorizer says it is
  await dynamodb('PutItem', {
    TableName: process.env.TABLE_NAME,
    Item: {
      connectionId: { S: requestContext.connectionId },
      connectedAt: { N: String(now) },
      expiresAt: { N: String(now + ROW_LIFETIME) },
      ...(principal && { principal: { S: String(principal) } }),
    },
  });
  // A browser that asked for a subprotocol gives up unless one is named (H17): the first that is no token.
  const asked = Object.entries(headers).find(([name]) => name.toLowerCase() === 'sec-websocket-protocol')?.[1] ?? '';
  const protocol = asked.split(',').map((offer) => offer.trim()).find((offer) => offer && !offer.startsWith('bearer.'));
  return protocol ? { statusCode: 200, headers: { 'Sec-WebSocket-Protocol': protocol } } : { statusCode: 200 };
}
