// $disconnect: forgets the connection. AWS calls it on a best-effort basis (H4).

import { dynamodb } from './aws.mjs';

export async function handler({ requestContext }) {
  await dynamodb('DeleteItem', {
    TableName: process.env.TABLE_NAME,
    Key: { connectionId: { S: requestContext.connectionId } },
  });
  return { statusCode: 200 };
}
