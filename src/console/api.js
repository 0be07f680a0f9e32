// Requests to the service that this page is from, the token, and refusals.
//
// /beta is asked because it shows all that is stored: of an assignment its
// filter too, without which a group would look larger than it is.

export const COLLECTION = '/beta/deviceManagement/deviceConfigurations';
const NAMESPACE = 'microsoft.graph.';

/** The requests that were made, the last first. */
export const requests = [];
const KEPT = 12;

// In the memory of this page and nowhere else.
let token = null;

export const hasToken = () => token !== null;
export const setToken = (text) => { token = text; };

/** A refusal in Graph's form, or none at all where nobody answered. */
export class Refusal extends Error {
  constructor(status, error, requestId) {
    super(error?.message ?? `The service answered ${status}.`);
    this.status = status;
    this.code = error?.code ?? `HTTP ${status}`;
    this.requestId = error?.innerError?.['request-id'] ?? requestId;
  }
}

/** The collection with options, or a path with a query that the service gave. */
export function address(path, options = {}) {
  const pairs = Object.entries(options).filter(([, value]) => value !== null);
  const query = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return query ? `${path}?${query}` : path;
}

/** A text as a literal of a filter. */
export const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

/** The name of a type without what all names have. */
export const shortType = (name) => String(name ?? '').replace(/^#/, '').replace(NAMESPACE, '');

/** The answer of the service, parsed; null where it has no body. */
export async function call(method, path, { body, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const request = { method, url: new URL(path, location.origin), body, withToken: token !== null };
  requests.unshift(request);
  requests.length = Math.min(requests.length, KEPT);
  const init = { method, headers, signal, body: body && JSON.stringify(body), credentials: 'omit', redirect: 'error' };
  try {
    const response = await fetch(request.url, init);
    request.status = response.status;
    request.requestId = response.headers.get('request-id');
    const text = await response.text();
    if (response.ok) return text ? JSON.parse(text) : null;
    throw new Refusal(response.status, errorOf(text), request.requestId);
  } catch (error) {
    if (error instanceof Refusal || error.name === 'AbortError') throw error;
    request.status = 'no answer';
    throw Object.assign(new Error('The service did not answer, or not in full. Is it running?'), { code: 'NoAnswer' });
  } finally {
    document.dispatchEvent(new Event('requested'));
  }
}

function errorOf(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return null;
  }
}

let types = null;

/** The types that a configuration can have, from the model of the service. */
export async function configurationTypes(signal) {
  types ??= concreteTypes((await call('GET', '/beta/$metadata?$format=json', { signal }))['microsoft.graph']);
  return types;
}

function concreteTypes(model) {
  const isConfiguration = (name) =>
    name === 'deviceConfiguration' || Boolean(model[name]?.$BaseType) && isConfiguration(shortType(model[name].$BaseType));
  return Object.keys(model).filter((name) => isConfiguration(name) && !model[name].$Abstract).sort();
}

/** `isof` of a type by its short name. */
export const isOf = (type) => `isof(${quoted(NAMESPACE + type)})`;
