//! The OData half of the dialect: what is the same for every resource.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `url.rs` | the check that every request line passes; system query options |
//! | `key.rs` | ids: keys in a path, ids that a client sends, identifiers of others |
//! | `prefer.rs` | the `Prefer` header |
//! | `body.rs` | the extractor that reads a request body |
//! | `json.rs` | JSON that is read strictly |
//! | `members.rs` | the members of a JSON object, taken one by one as typed values |
//! | `links.rs` | the version that was asked for; `@odata.context` and `Location` |

pub mod body;
pub mod json;
pub mod key;
pub mod links;
pub mod members;
pub mod prefer;
pub mod url;
