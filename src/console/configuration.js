// The page of one configuration: its type, its assignments and its properties.

import { COLLECTION, address, call, shortType } from './api.js';
import { assignmentsOf } from './assignments.js';
import { element, time } from './dom.js';

const HEAD = ['id', 'displayName', 'description', 'version', 'createdDateTime', 'lastModifiedDateTime', 'assignments'];
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

const isEmpty = (value) => value === null || value === '' || Array.isArray(value) && value.length === 0;
const isControl = (name) => name.includes('@') && name !== '@odata.type';

/** Returns a JSON value as elements for a reader. */
function shown(value) {
  if (isEmpty(value)) return element('span', { class: 'none' }, value === null ? 'null' : 'empty');
  if (Array.isArray(value)) return element('ul', {}, value.map((item) => element('li', {}, shown(item))));
  if (typeof value === 'object') return properties(Object.entries(value).filter(([name]) => !isControl(name)));
  if (typeof value === 'string') return TIME.test(value) ? time(value) : value;
  return element('code', {}, String(value));
}

function properties(entries) {
  return element('dl', {}, entries.map(([name, value]) =>
    element('div', {}, element('dt', {}, name), element('dd', {}, name === '@odata.type' ? shortType(value) : shown(value)))));
}

function own(configuration) {
  const entries = Object.entries(configuration).filter(([name]) => !HEAD.includes(name) && !name.includes('@'));
  const set = entries.filter(([, value]) => !isEmpty(value));
  const unset = entries.filter(([, value]) => isEmpty(value));
  return [
    set.length > 0 ? properties(set) : element('p', {}, 'No property is set.'),
    unset.length > 0 && element('details', {},
      element('summary', {}, `${unset.length} ${unset.length === 1 ? 'property' : 'properties'} without a value`),
      element('ul', { class: 'names' }, unset.map(([name]) => element('li', {}, element('code', {}, name))))),
  ];
}

/** Returns the JSON that the API answers, without the expanded assignments. */
function json({ assignments, 'assignments@odata.context': context, ...configuration }) {
  const text = JSON.stringify(configuration, null, 2);
  return element('details', {}, element('summary', {}, 'JSON'),
    element('pre', { tabindex: '0', role: 'region', 'aria-label': 'JSON of the configuration' }, element('code', {}, text)));
}

/** Returns the view of one configuration. */
export async function configuration(id, signal) {
  const path = `${COLLECTION}/${encodeURIComponent(id)}`;
  const read = () => call('GET', address(path, { $expand: 'assignments' }), { signal });
  const found = await read();
  const name = found.displayName || '(no name)';
  const reread = async () => (await read()).assignments;
  const about = [
    ['Type', shortType(found['@odata.type'])], ['Id', element('code', {}, found.id)], ['Version', String(found.version)],
    ['Created', time(found.createdDateTime)], ['Changed', time(found.lastModifiedDateTime)],
  ];
  return {
    title: name,
    status: `${name} is shown.`,
    content: [
      element('nav', { 'aria-label': 'Breadcrumb' }, element('a', { href: '#/configurations' }, 'Configurations')),
      element('h1', { tabindex: '-1' }, name),
      found.description && element('p', {}, found.description),
      element('dl', { class: 'about' }, about.map(([term, value]) => element('div', {}, element('dt', {}, term), element('dd', {}, value)))),
      assignmentsOf(path, name, found.assignments ?? [], reread),
      element('section', { 'aria-labelledby': 'properties' },
        element('h2', { id: 'properties' }, 'Properties'), own(found), json(found)),
    ],
  };
}
