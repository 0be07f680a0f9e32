// Asks for a token. The page keeps the token in a variable and stores it nowhere, so
// it asks again after a reload.

import { setToken } from './api.js';
import { element, field, refusal, say } from './dom.js';

/** Returns the form. It calls `done` after it has set the token. */
export function tokenForm(error, done) {
  const input = element('input', {
    id: 'token', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'token-hint',
  });
  const submit = (event) => {
    event.preventDefault();
    const text = input.value.trim().replace(/^bearer\s+/i, '');
    // A header cannot have other characters. Such a text was probably pasted by mistake.
    if (!/^[\x21-\x7e]+$/.test(text)) {
      say('This is not a token. A token has no spaces and only ASCII characters.', true);
      input.focus();
      return;
    }
    input.value = '';
    setToken(text);
    done();
  };
  return [
    element('h1', { tabindex: '-1' }, 'Enter an access token'),
    element('p', { id: 'token-hint' },
      'The service requires a token. This page keeps the token in memory until you reload or close the page, and sends it only to this service.'),
    error.message && refusal(error),
    element('form', { onsubmit: submit },
      field('Access token', input),
      element('p', {}, element('button', { class: 'primary' }, 'Continue'))),
  ];
}
