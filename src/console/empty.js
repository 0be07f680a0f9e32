// An empty store: a first request to copy, and a sample to load.

import { Refusal, call, hasToken } from './api.js';
import { element, refusal, say } from './dom.js';
import { command, copyable } from './requests.js';

const PATH = '/deviceManagement/deviceConfigurations';
const FIRST = { '@odata.type': '#microsoft.graph.iosUpdateConfiguration', displayName: 'My first configuration' };
// What a request of an atomicity group answers when another one of the group is refused.
const FAILED_DEPENDENCY = 424;

/** Stores the sample with one batch. Its requests are one atomicity group: all are stored, or none. */
async function loadSample() {
  const { value } = await call('GET', '/console/sample.json');
  const requests = value.map((body, index) => ({
    id: String(index + 1), atomicityGroup: 'sample', method: 'POST', url: PATH,
    headers: { 'Content-Type': 'application/json' }, body,
  }));
  const { responses } = await call('POST', '/beta/$batch', { body: { requests } });
  const failed = responses.filter(({ status }) => status >= 400);
  const cause = failed.find(({ status }) => status !== FAILED_DEPENDENCY) ?? failed[0];
  if (cause) throw new Refusal(cause.status, cause.body?.error, cause.headers?.['request-id']);
}

/** The section for a store without configurations; `reload` reads the list again. */
export function emptyStore(reload) {
  const problem = element('div');
  const load = async () => {
    if (section.hasAttribute('aria-busy')) return;
    section.setAttribute('aria-busy', 'true');
    problem.replaceChildren();
    say('The sample is being loaded.');
    try {
      await loadSample();
      reload();
    } catch (error) {
      say('');
      problem.replaceChildren(refusal(error));
    }
    section.removeAttribute('aria-busy');
  };
  const first = { method: 'POST', url: new URL(`/v1.0${PATH}`, location.origin), body: FIRST, withToken: hasToken() };
  const section = element('section', { 'aria-labelledby': 'empty' },
    element('h2', { id: 'empty' }, 'There are no configurations yet'),
    element('p', {}, `Create the first one with this request in a shell${first.withToken ? ', with your token in $TOKEN' : ''}:`),
    element('div', {}, copyable(command(first), 'Copy the first request')),
    element('p', {}, 'Or load a sample for iOS, Android, macOS and Windows. It stores all eight configurations or, after an error, none.'),
    problem,
    element('p', {}, element('button', { type: 'button', id: 'sample', class: 'primary', onclick: load }, 'Load a sample of eight configurations')));
  return section;
}
