// The list of configurations: search, type, group and pages. The URL holds all of
// this state, so that a user can bookmark it and go back to it.

import { COLLECTION, address, call, configurationTypes, isOf, quoted, shortType } from './api.js';
import { choice, element, field, table, time } from './dom.js';
import { summary } from './assignments.js';
import { emptyStore } from './empty.js';

const PAGE = 50;
const MATCHES = [['', 'contains'], ['startswith', 'begins with (case-sensitive)']];

/** Returns the filter for the values of the form, or null. */
function filter({ name, match, type, group }) {
  const conditions = [
    name && match === 'startswith' && `startswith(displayName,${quoted(name)})`,
    // `contains` ignores letter case here. Only `startswith` can use an index.
    name && match !== 'startswith' && `contains(tolower(displayName),tolower(${quoted(name)}))`,
    type && isOf(type),
    // The type of an excluded group is derived from this one, so it is found, too.
    group && `assignments/any(a:a/target/microsoft.graph.groupAssignmentTarget/groupId eq ${quoted(group)})`,
  ];
  return conditions.filter(Boolean).join(' and ') || null;
}

/** Returns the fragment of the URL for a search and a page. `page` is the query of a next link. */
const hash = (wanted, page) => {
  const given = Object.entries(wanted).filter(([, value]) => value);
  const parameters = new URLSearchParams(page ? [...given, ['page', page]] : given);
  return parameters.size ? `#/configurations?${parameters}` : '#/configurations';
};

/** Shows the address of this page anew. */
const reload = () => dispatchEvent(new HashChangeEvent('hashchange'));

/** One form for all pages. Only the URL fills it, so that an answer that arrives late does not overwrite what the user types. */
let form = null;

function searchForm(types) {
  const inputs = {
    name: element('input', { id: 'name', type: 'search', autocomplete: 'off' }),
    match: choice({ id: 'match' }, MATCHES),
    type: choice({ id: 'type' }, [['', 'any'], ...types.map((type) => [type, type])]),
    group: element('input', { id: 'group', autocomplete: 'off', spellcheck: 'false' }),
  };
  const unknown = new Option();
  const fill = (wanted) => {
    // A URL may name a type that does not exist.
    unknown.remove();
    unknown.text = unknown.value = wanted.type;
    if (wanted.type && !types.includes(wanted.type)) inputs.type.add(unknown);
    for (const [key, input] of Object.entries(inputs)) input.value = wanted[key];
  };
  const submit = (event) => {
    event.preventDefault();
    const asked = Object.fromEntries(Object.entries(inputs).map(([key, { value }]) => [key, value.trim()]));
    if (!asked.name) asked.match = '';
    // Search again when the form has not changed. Send the event now, because pushState sends none.
    if (hash(asked) !== location.hash) history.pushState(null, '', hash(asked));
    reload();
  };
  const shown = element('form', { class: 'search', role: 'search', 'aria-label': 'Configurations', onsubmit: submit },
    field('Name', inputs.name), field('Match', inputs.match), field('Type', inputs.type), field('Assigned to group (id)', inputs.group),
    element('p', { class: 'field' }, element('button', { id: 'search', class: 'primary' }, 'Search')));
  return { shown, fill };
}

function row({ id, displayName, '@odata.type': type, assignments, lastModifiedDateTime }) {
  return [
    element('a', { href: `#/configurations/${encodeURIComponent(id)}` }, displayName || '(no name)'),
    shortType(type),
    summary(assignments ?? []),
    time(lastModifiedDateTime),
  ];
}

const counted = (count) => `${count.toLocaleString()} ${count === 1 ? 'configuration' : 'configurations'}`;

function results(rows, isFiltered, page) {
  if (rows.length > 0) return table('Configurations', ['Name', 'Type', 'Assigned to', 'Changed'], rows.map(row));
  if (isFiltered) return element('p', {}, 'No configuration matches. ', element('a', { href: '#/configurations' }, 'Show all'));
  // Configurations of a page can be deleted while another page is shown.
  return page ? element('p', {}, 'This page has no configurations.') : emptyStore(reload);
}

function pages(wanted, page, link) {
  const next = link && new URL(link, location.origin).search.slice(1);
  if (!next && !page) return null;
  return element('nav', { class: 'pages', 'aria-label': 'Pages' },
    page && element('a', { href: hash(wanted) }, 'First page'),
    next ? element('a', { href: hash(wanted, next), rel: 'next' }, 'Next page') : element('span', {}, 'This is the last page.'));
}

/** Returns the view for the parameters of the URL. */
export async function list(parameters, signal) {
  const wanted = Object.fromEntries(['name', 'match', 'type', 'group'].map((key) => [key, parameters.get(key) ?? '']));
  if (wanted.match !== 'startswith') wanted.match = '';
  form?.fill(wanted);
  const page = parameters.get('page');
  const first = {
    $filter: filter(wanted), $orderby: 'displayName', $top: PAGE, $count: true,
    $select: 'id,displayName,lastModifiedDateTime', $expand: 'assignments',
  };
  const [types, found] = await Promise.all([
    configurationTypes(signal),
    call('GET', page ? `${COLLECTION}?${page}` : address(COLLECTION, first), { signal }),
  ]);
  signal.throwIfAborted();
  if (!form) {
    form = searchForm(types);
    form.fill(wanted);
  }
  const count = counted(found['@odata.count'] ?? found.value.length);
  const title = page ? `${count}, continued` : count;
  return {
    title: 'Configurations',
    status: `${title}; ${found.value.length} on this page.`,
    content: [
      element('h1', { tabindex: '-1' }, 'Configurations'),
      form.shown,
      element('h2', { id: 'results', class: 'count' }, title),
      results(found.value, first.$filter !== null, page),
      pages(wanted, page, found['@odata.nextLink']),
    ],
  };
}
