// Rooms: who is in one hears what is said there, and who comes and goes.
//
//   {"action":"join","room":"kitchen","as":"ada"}    {"action":"say","text":"hello"}
//   {"action":"who"}                                 {"action":"leave"}
//
// The row of a connection says where it is and as whom; the table's index `room` has the rows of a room together.

import { connectionsEndpoint, dynamodb, payload } from './aws.mjs';
import { Delivery } from './delivery.mjs';

const TableName = process.env.TABLE_NAME;
// Kept back of the invocation's time: for the last posts to be answered, and for the answer. Milliseconds.
const LAST_CALL = 2_000;
const LAST_WORDS = 1_000;

export async function handler({ requestContext, body }, context) {
  const { connectionId, routeKey } = requestContext;
  const end = performance.now() + context.getRemainingTimeInMillis();
  const Key = { connectionId: { S: connectionId } };
  const { Item = {} } = await dynamodb('GetItem', { TableName, Key, ConsistentRead: true });
  const me = { Key, room: Item.room?.S, name: Item.name?.S };

  // Everybody in `room` hears `news`; gives their number.
  const tell = async (room, news) => {
    const times = { lastCall: end - LAST_CALL, deadline: end - LAST_WORDS };
    const delivery = new Delivery(connectionsEndpoint(requestContext), payload(JSON.stringify({ room, ...news })), times);
    const pages = peopleIn(room);
    await delivery.run(async () => (await pages.next()).value);
    return delivery.sent;
  };

  const answer = await ACTIONS[routeKey](me, routeKey === '$disconnect' ? {} : JSON.parse(body), tell);
  return { statusCode: 200, body: JSON.stringify(answer) };
}

const ACTIONS = {
  async join(me, { room, as: name }, tell) {
    if (!isName(room) || !isName(name)) return { error: '`room` and `as` are names of up to 64 characters' };
    if (me.room) await ACTIONS.leave(me, {}, tell);
    await dynamodb('UpdateItem', {
      TableName,
      Key: me.Key,
      UpdateExpression: 'SET room = :room, #name = :name',
      // Who has gone in the meantime stays gone.
      ConditionExpression: 'attribute_exists(connectionId)',
      ExpressionAttributeNames: { '#name': 'name' },
      ExpressionAttributeValues: { ':room': { S: room }, ':name': { S: name } },
    });
    await tell(room, { joined: name });
    // An index comes after its table, so who has just come may not be in it yet.
    return { room, here: [...new Set([...(await namesIn(room)), name])].sort() };
  },

  async leave(me, _, tell) {
    if (!me.room) return { error: 'you are in no room' };
    const ExpressionAttributeNames = { '#name': 'name' };
    await dynamodb('UpdateItem', { TableName, Key: me.Key, UpdateExpression: 'REMOVE room, #name', ExpressionAttributeNames });
    await tell(me.room, { left: me.name });
    return { left: me.room };
  },

  async say(me, { text }, tell) {
    if (!me.room) return { error: 'you are in no room' };
    if (typeof text !== 'string' || text === '') return { error: '`text` is what you say' };
    return { heard: await tell(me.room, { from: me.name, text }) };
  },

  async who(me) {
    return me.room ? { room: me.room, here: await namesIn(me.room) } : { error: 'you are in no room' };
  },

  async $disconnect(me, _, tell) {
    await dynamodb('DeleteItem', { TableName, Key: me.Key });
    if (me.room) await tell(me.room, { left: me.name });
  },
};

const isName = (name) => typeof name === 'string' && name.length > 0 && name.length <= 64;

async function* peopleIn(room) {
  const query = { TableName, IndexName: 'room', KeyConditionExpression: 'room = :room' };
  for (let page = {}; ; ) {
    page = await dynamodb('Query', { ...query, ExpressionAttributeValues: { ':room': { S: room } }, ExclusiveStartKey: page.LastEvaluatedKey });
    yield page.Items;
    if (!page.LastEvaluatedKey) return;
  }
}

async function namesIn(room) {
  const names = new Set();
  for await (const people of peopleIn(room)) for (const { name } of people) if (name) names.add(name.S);
  return [...names].sort();
}
