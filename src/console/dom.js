// Creates elements. Values from the service become text and never markup.

/** Creates an element with attributes (`on…` are listeners) and children. Leaves out null and false. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Replaces the children of `parent`. A child that stays is not moved, so that a user can go on typing in it. */
export function replace(parent, children) {
  for (const child of [...parent.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** Creates a control with a label. */
export function field(label, control) {
  return element('p', { class: 'field' }, element('label', { for: control.id }, label), control);
}

/** Creates a selection of `[value, text]`. */
export function choice(attributes, options, chosen) {
  const made = options.map(([value, text]) => element('option', { value, selected: value === chosen }, text));
  return element('select', attributes, made);
}

/**
 * Creates a table. The explicit roles are needed on a narrow screen: there the rows
 * are blocks, and browsers no longer treat them as rows.
 */
export function table(label, columns, rows) {
  const head = columns.map((column) => element('th', { role: 'columnheader', scope: 'col' }, column));
  const body = rows.map((cells) =>
    element('tr', { role: 'row' }, cells.map((cell, index) => {
      const [name, attributes] = index ? ['td', { role: 'cell' }] : ['th', { role: 'rowheader', scope: 'row' }];
      return element(name, { ...attributes, 'data-column': columns[index] }, cell);
    })));
  return element('table', { role: 'table', 'aria-label': label },
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, head)),
    element('tbody', { role: 'rowgroup' }, body));
}

/** Returns a time in the format of the browser's language. The element has the exact time. */
export function time(text) {
  const read = new Date(text);
  if (Number.isNaN(read.getTime())) return String(text);
  const shown = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(read);
  return element('time', { datetime: text, title: text }, shown);
}

/** Shows an error of the service. */
export function refusal(error) {
  const facts = [['Status', error.status], ['request-id', error.requestId]].filter(([, value]) => value);
  return element('div', { class: 'refusal', role: 'alert' },
    element('p', {}, element('strong', { class: 'code' }, error.code ?? 'Error'), ' ', error.message),
    facts.length > 0 && element('p', { class: 'facts' },
      facts.map(([name, value]) => element('span', {}, `${name} `, element('code', {}, value)))));
}

/** Announces a text to screen readers. With `isNews`, the text is also visible. */
export function say(text, isNews = false) {
  const status = document.getElementById('status');
  status.textContent = text;
  status.className = isNews ? 'news' : '';
}
