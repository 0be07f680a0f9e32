// The assignments of a configuration: shows, adds and removes them.

import { call, shortType } from './api.js';
import { choice, element, field, refusal, say, table } from './dom.js';

/** The kinds of targets, in the order of the form: type, name, member for the id, and label of that member. */
const TARGETS = [
  { type: 'groupAssignmentTarget', text: 'Group', member: 'groupId', label: 'Group id' },
  { type: 'exclusionGroupAssignmentTarget', text: 'Group, excluded', member: 'groupId', label: 'Group id' },
  { type: 'allDevicesAssignmentTarget', text: 'All devices' },
  { type: 'allLicensedUsersAssignmentTarget', text: 'All users' },
  {
    type: 'configurationManagerCollectionAssignmentTarget', text: 'Configuration Manager collection',
    member: 'collectionId', label: 'Collection id',
  },
];

const kindOf = (target) => TARGETS.find(({ type }) => type === shortType(target?.['@odata.type']));
const nameOf = (target) => kindOf(target)?.text ?? shortType(target?.['@odata.type']);
const idOf = (target) => target?.groupId ?? target?.collectionId ?? '';

/** Returns a short summary of the targets, for a list. */
export function summary(assignments) {
  const counts = new Map();
  for (const { target } of assignments) counts.set(nameOf(target), (counts.get(nameOf(target)) ?? 0) + 1);
  const words = [...counts].map(([name, count]) => (count > 1 ? `${name} × ${count}` : name));
  return words.length > 0 ? words.join(', ') : element('span', { class: 'none' }, 'not assigned');
}

function filterOf(target) {
  const { deviceAndAppManagementAssignmentFilterId: id, deviceAndAppManagementAssignmentFilterType: type } = target ?? {};
  return id ? [`${type} `, element('code', {}, id)] : element('span', { class: 'none' }, 'none');
}

/** Asks for confirmation before a deletion. Resolves to the answer. The browser restores the focus. */
function confirmed(question, consequence, verb) {
  return new Promise((resolve) => {
    const end = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = element('dialog', { 'aria-labelledby': 'question', oncancel: (event) => { event.preventDefault(); end(false); } },
      element('h2', { id: 'question' }, question), element('p', {}, consequence),
      element('p', { class: 'buttons' },
        element('button', { type: 'button', autofocus: true, onclick: () => end(false) }, 'Cancel'),
        element('button', { type: 'button', class: 'danger', onclick: () => end(true) }, verb)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Returns the form. It calls `add` with the target. */
function addForm(add) {
  const value = element('input', { id: 'target-id', required: true, maxlength: '256', autocomplete: 'off', spellcheck: 'false' });
  const labelled = field('Group id', value);
  const kind = choice({ id: 'target-kind', onchange: () => adapt() }, TARGETS.map(({ type, text }) => [type, text]), TARGETS[0].type);
  const chosen = () => TARGETS.find(({ type }) => type === kind.value);
  const adapt = () => {
    const { member, label } = chosen();
    labelled.hidden = !member;
    value.disabled = !member;
    if (member) labelled.querySelector('label').textContent = label;
  };
  const submit = async (event) => {
    event.preventDefault();
    const { type, member } = chosen();
    const target = { '@odata.type': `#microsoft.graph.${type}` };
    const entered = value.value;
    if (member) target[member] = entered.trim();
    // Keep what the user has typed meanwhile.
    if (await add(target) && value.value === entered) value.value = '';
  };
  return element('form', { class: 'add', 'aria-label': 'Add an assignment', onsubmit: submit },
    field('Assign to', kind), labelled,
    element('p', { class: 'field' }, element('button', { id: 'add', class: 'primary' }, 'Add')));
}

function row(assignment, remove) {
  const { target } = assignment;
  const label = `Remove ${nameOf(target)} ${idOf(target)}`.trim();
  return [
    nameOf(target), idOf(target) ? element('code', {}, idOf(target)) : '', filterOf(target),
    element('button', { type: 'button', 'aria-label': label, onclick: () => remove(assignment) }, 'Remove'),
  ];
}

/** Returns the section of the assignments of a configuration. `reread` reads them again. */
export function assignmentsOf(path, name, assignments, reread) {
  const heading = element('h2', { id: 'assignments', tabindex: '-1' }, 'Assignments');
  const [shown, problem] = [element('div'), element('div')];

  /** Executes one change at a time. Then shows the stored assignments, also when the change was refused. */
  const change = async (request, done) => {
    if (section.hasAttribute('aria-busy')) return false;
    section.setAttribute('aria-busy', 'true');
    problem.replaceChildren();
    say('');
    let error = null;
    await request().catch((caught) => { error = caught; });
    await reread().then(show).catch((caught) => { error ??= caught; });
    section.removeAttribute('aria-busy');
    if (error) problem.replaceChildren(refusal(error));
    else say(done, true);
    return error === null;
  };
  const add = (target) =>
    change(() => call('POST', `${path}/assignments`, { body: { target } }), `Assigned to: ${nameOf(target)} ${idOf(target)}`);
  const remove = async ({ id, target }) => {
    const what = `${nameOf(target)} ${idOf(target)}`.trim();
    if (!await confirmed('Remove the assignment?', `${what} of “${name}”. If you add the same target again, the assignment gets a new id.`, 'Remove')) return;
    await change(() => call('DELETE', `${path}/assignments/${encodeURIComponent(id)}`), `Removed: ${what}`);
    heading.focus();
  };
  function show(rows) {
    shown.replaceChildren(rows.length > 0
      ? table('Assignments', ['Target', 'Id', 'Filter', 'Change'], rows.map((assignment) => row(assignment, remove)))
      : element('p', {}, 'This configuration is not assigned.'));
  }

  show(assignments);
  const section = element('section', { 'aria-labelledby': 'assignments' }, heading, shown, problem, addForm(add));
  return section;
}
