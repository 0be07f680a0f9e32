// Selects the view for the URL, and sets the focus after it is shown.

import { hasToken, setToken } from './api.js';
import { configuration } from './configuration.js';
import { element, refusal, replace, say } from './dom.js';
import { list } from './list.js';
import { showRequests } from './requests.js';
import { tokenForm } from './token.js';

const main = document.getElementById('view');
const forget = document.getElementById('forget');
let underway = new AbortController();

/** Returns the view for the URL: `#/configurations?…` or `#/configurations/{id}`. */
function view(signal) {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [collection, id, ...more] = path.split('/').filter(Boolean);
  if (collection !== undefined && collection !== 'configurations' || more.length > 0) return nowhere();
  return id ? configuration(decodeURIComponent(id), signal) : list(new URLSearchParams(query), signal);
}

const nowhere = () => ({
  title: 'Page not found',
  status: 'This page does not exist.',
  content: [
    element('h1', { tabindex: '-1' }, 'This page does not exist'),
    element('p', {}, element('a', { href: '#/configurations' }, 'Configurations')),
  ],
});

function failed(error) {
  if (error.status === 401) {
    // Without a token in the request, the 401 is no error to show.
    const shown = hasToken() ? error : {};
    setToken(null);
    return { title: 'Access token required', status: 'The service requires a token.', content: tokenForm(shown, navigate) };
  }
  const again = element('button', { type: 'button', onclick: navigate }, 'Try again');
  const home = element('a', { href: '#/configurations' }, 'Configurations');
  const content = [element('h1', { tabindex: '-1' }, 'The request failed'), refusal(error), element('p', { class: 'buttons' }, again, home)];
  return { title: 'The request failed', status: '', content };
}

/** Shows the view when it is complete. Until then, the previous view stays. */
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

/** Keeps the focus on a control that still exists. After a link, moves it to the start of the new content. */
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
// The URL holds the state of the page. The link that skips to the content must not change it.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', navigate);
showRequests();
navigate();
