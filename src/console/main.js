// Which view the address asks for, and where the focus goes when it is there.

import { hasToken, setToken } from './api.js';
import { configuration } from './configuration.js';
import { element, refusal, replace, say } from './dom.js';
import { list } from './list.js';
import { showRequests } from './requests.js';
import { tokenForm } from './token.js';

const main = document.getElementById('view');
const forget = document.getElementById('forget');
let underway = new AbortController();

/** The view of the address: `#/configurations?…` or `#/configurations/{id}`. */
function view(signal) {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [collection, id, ...more] = path.split('/').filter(Boolean);
  if (collection !== undefined && collection !== 'configurations' || more.length > 0) return nowhere();
  return id ? configuration(decodeURIComponent(id), signal) : list(new URLSearchParams(query), signal);
}

const nowhere = () => ({
  title: 'Not here',
  status: 'There is no such page.',
  content: [
    element('h1', { tabindex: '-1' }, 'There is no such page'),
    element('p', {}, element('a', { href: '#/configurations' }, 'Configurations')),
  ],
});

function failed(error) {
  if (error.status === 401) {
    // Where no token was sent there is nothing to complain of.
    const shown = hasToken() ? error : {};
    setToken(null);
    return { title: 'Who are you?', status: 'The service asks for a token.', content: tokenForm(shown, navigate) };
  }
  const again = element('button', { type: 'button', onclick: navigate }, 'Try again');
  const home = element('a', { href: '#/configurations' }, 'Configurations');
  const content = [element('h1', { tabindex: '-1' }, 'That did not work'), refusal(error), element('p', { class: 'buttons' }, again, home)];
  return { title: 'That did not work', status: '', content };
}

/** Shows the view once it is whole; until then the one before stays. */
async function navigate() {
  underway.abort();
  underway = new AbortController();
  const { signal } = underway;
  main.setAttribute('aria-busy', 'true');
  const { title, status, content } = await Promise.resolve(signal).then(view).catch(failed);
  if (signal.aborted) return;
  const isFirst = !main.hasAttribute('data-shown');
  const held = document.activeElement?.id;
  replace(main, content.flat().filter(Boolean));
  main.removeAttribute('aria-busy');
  main.setAttribute('data-shown', '');
  document.title = title === 'devicegraph' ? title : `${title} – devicegraph`;
  forget.hidden = !hasToken();
  say(status);
  focus(held, isFirst);
}

/** A control that is still there keeps the focus; after a link it is where the new content begins. */
function focus(held, isFirst) {
  const again = held && main.querySelector(`#${CSS.escape(held)}`);
  const field = main.querySelector('#token');
  if (again && !again.matches('[tabindex="-1"]')) again.focus();
  else if (field) field.focus();
  else if (!isFirst) {
    scrollTo(0, 0);
    main.querySelector('h1').focus({ preventScroll: true });
  }
}

forget.addEventListener('click', () => {
  setToken(null);
  navigate();
});
// The address of this page is its state: the link that skips to the content must not change it.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', navigate);
showRequests();
navigate();
