// Shows the requests of this page as commands for a POSIX shell.

import { requests } from './api.js';
import { element, say } from './dom.js';

/** Returns a text as one quoted word of a shell. */
export const word = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Returns a request as a curl command. The token is a shell variable, so that it is not in the shell's history. */
export function command({ method, url, body, withToken }) {
  const parts = [`curl -sS ${word(url.origin + url.pathname)}`];
  const options = [...url.searchParams];
  if (options.length > 0) parts[0] = parts[0].replace('-sS', '-sSG');
  parts.push(...options.map(([name, value]) => `--data-urlencode ${word(`${name}=${value}`)}`));
  if (method !== 'GET' && body === undefined) parts.push(`-X ${method}`);
  if (withToken) parts.push('-H "Authorization: Bearer $TOKEN"');
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${word(JSON.stringify(body))}`);
  return parts.join(' \\\n  ');
}

async function copy(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    say('Copied.', true);
  } catch {
    // Browsers allow the clipboard only on HTTPS and on localhost. Select the text instead.
    getSelection().selectAllChildren(shown);
    say('The browser does not allow this page to copy. The command is selected: copy it with the keyboard.', true);
  }
}

/** A command, and a button with this label that copies it. */
export function copyable(text, label) {
  const code = element('code', {}, text);
  return [element('pre', {}, code), element('button', { type: 'button', 'aria-label': label, onclick: () => copy(text, code) }, 'Copy')];
}

function shown(request) {
  const title = `${request.method} ${decodeURIComponent(request.url.pathname)}`;
  const outcome = [request.status ?? '…', request.requestId && `request-id ${request.requestId}`].filter(Boolean);
  return element('li', {},
    element('p', {}, element('strong', {}, title), ' ', element('span', { class: 'facts' }, outcome.join(', '))),
    copyable(command(request), `Copy the command for ${title}`));
}

/** Shows the requests, and updates the list after each request. */
export function showRequests() {
  const list = document.getElementById('request-list');
  document.addEventListener('requested', () => list.replaceChildren(...requests.map(shown)));
}
