// Requests to the service of this page, the token, and error messages.
//
// The page reads /beta, which shows everything that is stored. /v1.0 hides the filter
// of an assignment, and the group would look larger than it is.

export const COLLECTION = '/beta/deviceManagement/deviceConfigurations';
const NAMESPACE = 'microsoft.graph.';

/** The requests of this page, the latest first. */
export const requests = [];
const KEPT = 12;

// The token is only in the memory of this page.
let token = null;

export const hasToken = () => token !== null;
export const setToken = (text) => { token = text; };

/** An error answer of the service, in Graph's form if its body has one. */
export class Refusal extends Error {
  constructor(status, error, requestId) {
    super(error?.message ?? `The service answered ${status}.`);
    this.status = status;
    this.code = error?.code ?? `HTTP ${status}`;
    this.requestId = error?.innerError?.['request-id'] ?? requestId;
  }
}

/** Returns a path with query options. Leaves out options that are null. */
export function address(path, options = {}) {
  const pairs = Object.entries(options).filter(([, value]) => value !== null);
  const query = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return query ? `${path}?${query}` : path;
}

/** Returns a text as a literal of a filter. */
export const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

/** Returns the name of a type without its namespace. */
export const shortType = (name) => String(name ?? '').replace(/^#/, '').replace(NAMESPACE, '');

/** Sends a request. Returns the parsed answer, or null when it has no body. */
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
    throw Object.assign(new Error('The service did not answer, or its answer was incomplete. Check that it is running.'), { code: 'NoAnswer' });
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

/** Returns the types that a configuration can have, from the model of the service. */
export async function configurationTypes(signal) {
  types ??= concreteTypes((await call('GET', '/beta/$metadata?$format=json', { signal }))['microsoft.graph']);
  return types;
}

function concreteTypes(model) {
  const isConfiguration = (name) =>
    name === 'deviceConfiguration' || Boolean(model[name]?.$BaseType) && isConfiguration(shortType(model[name].$BaseType));
  return Object.keys(model).filter((name) => isConfiguration(name) && !model[name].$Abstract).sort();
}

/** Returns the condition `isof` for the short name of a type. */
export const isOf = (type) => `isof(${quoted(NAMESPACE + type)})`;
