// The handler to compare with: what the walkthrough describes, in AWS SDK v3. One scan page, then
// `Promise.all` over everybody; a connection that is gone is deleted.

import { ApiGatewayManagementApiClient, PostToConnectionCommand } from '@aws-sdk/client-apigatewaymanagementapi';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, DynamoDBDocumentClient, ScanCommand } from '@aws-sdk/lib-dynamodb';

const dynamodb = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export async function handler({ requestContext, body }) {
  const { apiId, stage } = requestContext;
  const api = new ApiGatewayManagementApiClient({ endpoint: `${process.env.CHATCTL_CONNECTIONS_ENDPOINT}/${apiId}/${stage}` });
  const TableName = process.env.TABLE_NAME;
  const { data } = JSON.parse(body);
  const { Items } = await dynamodb.send(new ScanCommand({ TableName, ProjectionExpression: 'connectionId' }));
  await Promise.all(
    Items.map(async ({ connectionId }) => {
      try {
        await api.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: data }));
      } catch (error) {
        if (error.$metadata?.httpStatusCode !== 410) throw error;
        await dynamodb.send(new DeleteCommand({ TableName, Key: { connectionId } }));
      }
    }),
  );
  return { statusCode: 200 };
}
