//! The page for people at `/`: configurations and their assignments, through the public
//! API, with the permissions of its user.
//!
//! It is plain modules that a browser reads as they are here. What they say to
//! the service they show as a command; a token that is typed in stays in the
//! memory of the page.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `files.rs` | the handlers, and the table of the files |
//! | `index.html`, `console.css`, `icon.svg` | what does not change |
//! | `main.js` | which view the address asks for, and where the focus goes |
//! | `api.js` | requests, the token, and refusals |
//! | `requests.js` | the requests of the page as commands |
//! | `token.js` | asks for a token |
//! | `list.js` | the configurations |
//! | `configuration.js` | one of them |
//! | `assignments.js` | who gets it |
//! | `dom.js` | elements, whose text is never markup |

mod files;

pub use self::files::{FILES, File, file, media_type, root};
