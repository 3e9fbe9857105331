// Who may connect: whoever brings a token of the issuer's that is meant for us. Asked by API Gateway before $connect.

import { Issuer } from './issuer.mjs';
import { Refused, verifiedClaims } from './jwt.mjs';

// What of the token handlers are told (`requestContext.authorizer`), as texts. Not all of it: what is told may end up in logs.
const TOLD = ['sub', 'iss', 'exp', 'client_id', 'scope', 'name', 'preferred_username', 'email', 'email_verified', 'groups', 'roles'];
const LONGEST_VALUE = 1024;

// Before a token that is offered as a subprotocol, which has no other place for it.
const OFFER = 'bearer.';

let issuer;

export async function handler(event) {
  const { JWT_ISSUER, JWT_AUDIENCE, JWT_TOKEN } = process.env;
  issuer ??= new Issuer(JWT_ISSUER);
  const findKey = (kid, alg) => issuer.key(kid, alg);
  try {
    const claims = await verifiedClaims(tokenOf(event, JWT_TOKEN), { issuer: JWT_ISSUER, audience: JWT_AUDIENCE, findKey });
    return { principalId: claims.sub, policyDocument: policy('Allow', event.methodArn), context: told(claims) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    console.error(JSON.stringify({ error: 'a token was refused', reason: error.message }));
    return { principalId: 'nobody', policyDocument: policy('Deny', event.methodArn) };
  }
}

/** The token at `place`; one that is there twice is none. */
function tokenOf({ multiValueHeaders, multiValueQueryStringParameters }, place) {
  const [where, name] = place.split(':');
  if (where === 'query') return only(valuesOf(multiValueQueryStringParameters, (known) => known === name));
  const header = where === 'protocol' ? 'sec-websocket-protocol' : name.toLowerCase();
  const values = valuesOf(multiValueHeaders, (known) => known.toLowerCase() === header);
  if (where === 'header') return only(values)?.replace(/^bearer +/i, '');
  const offers = values.flatMap((value) => value.split(',')).map((offer) => offer.trim());
  return only(offers.filter((offer) => offer.startsWith(OFFER)))?.slice(OFFER.length);
}

function valuesOf(all, isWanted) {
  return Object.entries(all ?? {}).flatMap(([name, values]) => (isWanted(name) ? values : []));
}

function only(values) {
  return values.length === 1 ? values[0] : undefined;
}

function policy(Effect, Resource) {
  return { Version: '2012-10-17', Statement: [{ Action: 'execute-api:Invoke', Effect, Resource }] };
}

/** API Gateway takes texts, numbers and booleans, and hands on all of them as texts. */
function told(claims) {
  const texts = TOLD.filter((name) => Object.hasOwn(claims, name)).map((name) => {
    const value = claims[name];
    return [name, typeof value === 'string' ? value : JSON.stringify(value)];
  });
  return Object.fromEntries(texts.filter(([, text]) => text.length <= LONGEST_VALUE));
}
