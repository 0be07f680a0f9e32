// Asks for a token. It goes from the field into a variable: nothing is stored,
// and a reload asks again.

import { setToken } from './api.js';
import { element, field, refusal, say } from './dom.js';

/** The form; `done` is called with the token set. */
export function tokenForm(error, done) {
  const input = element('input', {
    id: 'token', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'token-hint',
  });
  const submit = (event) => {
    event.preventDefault();
    const text = input.value.trim().replace(/^bearer\s+/i, '');
    // A header has no other characters; a token that has is a slip of the clipboard.
    if (!/^[\x21-\x7e]+$/.test(text)) {
      say('A token is one word.', true);
      input.focus();
      return;
    }
    input.value = '';
    setToken(text);
    done();
  };
  return [
    element('h1', { tabindex: '-1' }, 'Who are you?'),
    element('p', { id: 'token-hint' },
      'The service asks for a token. This page keeps it in its memory until you reload or close it, and sends it to this service alone.'),
    error.message && refusal(error),
    element('form', { onsubmit: submit },
      field('Access token', input),
      element('p', {}, element('button', { class: 'primary' }, 'Continue'))),
  ];
}
