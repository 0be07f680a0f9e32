//! The page at `/` for people: configurations and their assignments, through the public API,
//! with the permissions of its user.
//!
//! The page consists of plain JavaScript modules, which the browser loads without a build step.
//! The page shows each of its requests as a command. A token that the user types stays in the
//! memory of the page.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `files.rs` | the handlers, and the table of the files |
//! | `index.html`, `console.css`, `icon.svg` | the static files |
//! | `main.js` | selects the view for the URL, and sets the focus |
//! | `api.js` | requests, the token, and error messages |
//! | `requests.js` | the requests of the page as commands |
//! | `token.js` | asks for a token |
//! | `list.js` | the list of configurations |
//! | `empty.js`, `docs/sample.json` | an empty store: a first request, and a sample to load |
//! | `configuration.js` | a configuration |
//! | `assignments.js` | the assignments of a configuration |
//! | `dom.js` | creates elements; text is never markup |

mod files;

pub use self::files::{FILES, File, file, media_type, root};
