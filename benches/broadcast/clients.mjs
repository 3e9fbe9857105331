// The same posts by three clients, so that the cost of the client alone can be told: ours, the bare
// `node:https` with our signatures, and the SDK. Each `handler` posts to `count` connections,
// a hundred at a time.

const POSTS_AT_ONCE = 100;
const base = () => new URL(`${process.env.CHATCTL_CONNECTIONS_ENDPOINT}/api1/prod`);
const id = (i) => `${i.toString(36).padStart(15, 'A')}=`;

async function inParallel(count, post) {
  let next = 0;
  await Promise.all(
    Array.from({ length: POSTS_AT_ONCE }, async () => {
      while (next < count) await post(id(next++));
    }),
  );
}

export const lean = async ({ lambda, count, data }) => {
  const { payload, postToConnection } = await import(`${lambda}/aws.mjs`);
  const endpoint = base();
  const message = payload(data);
  await inParallel(count, (connectionId) => postToConnection(endpoint, connectionId, message).answer);
};

let agent;

export const https = async ({ lambda, count, data }) => {
  const { request, Agent } = await import('node:https');
  const { payload, sign } = await import(`${lambda}/aws.mjs`);
  agent ??= new Agent({ keepAlive: true, maxSockets: POSTS_AT_ONCE });
  const endpoint = base();
  const { body, bodyHash } = payload(data);
  const { env } = process;
  await inParallel(count, (connectionId) => {
    const path = `${endpoint.pathname}/@connections/${encodeURIComponent(connectionId)}`;
    const credentials = { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY, sessionToken: env.AWS_SESSION_TOKEN };
    const unsigned = { method: 'POST', path, headers: { host: endpoint.host }, bodyHash };
    const headers = { ...sign(unsigned, 'execute-api', env.AWS_REGION, credentials, new Date()), 'content-length': body.length };
    return new Promise((resolve, reject) => {
      request({ host: endpoint.hostname, port: endpoint.port, method: 'POST', path, headers, agent }, (response) => {
        response.resume().on('end', resolve);
      })
        .on('error', reject)
        .end(body);
    });
  });
};

let api;

export const sdk = async ({ count, data }) => {
  const { ApiGatewayManagementApiClient, PostToConnectionCommand } = await import('@aws-sdk/client-apigatewaymanagementapi');
  api ??= new ApiGatewayManagementApiClient({ endpoint: base().href, requestHandler: { httpsAgent: { maxSockets: POSTS_AT_ONCE } } });
  await inParallel(count, (ConnectionId) => api.send(new PostToConnectionCommand({ ConnectionId, Data: data })));
};
