//! The OData half of the dialect: what is the same for every resource.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `url.rs` | the check that every request line passes |
//! | `negotiate.rs` | OData's versions, and how much control information an answer carries |
//! | `options.rs` | the query options of a request |
//! | `query.rs` | a query as one statement; pages, and the query of the next link |
//! | `order.rs` | `$orderby`, and where a page begins |
//! | `paging.rs` | how many rows an answer holds |
//! | `token.rs` | `$skiptoken` |
//! | `select.rs` | `$select` |
//! | `filter/` | `$filter`: its grammar, and the tree that it makes |
//! | `sql/` | the tree as SQL, held to the catalogue |
//! | `key.rs` | ids: keys in a path, ids that a client sends, identifiers of others |
//! | `etag.rs` | `If-Match` and `If-None-Match` |
//! | `prefer.rs` | the `Prefer` header |
//! | `casts.rs` | the type-cast segments of a path |
//! | `body.rs` | the extractor that reads a request body |
//! | `json.rs` | JSON that is read strictly |
//! | `members.rs` | the members of a JSON object, taken one by one as typed values |
//! | `metadata.rs` | `$metadata` in XML and JSON |
//! | `links.rs` | the root of links; `@odata.context`, `@odata.nextLink` and `Location` |

pub mod body;
pub mod casts;
pub mod etag;
pub mod filter;
pub mod json;
pub mod key;
pub mod links;
pub mod members;
pub mod metadata;
pub mod negotiate;
pub mod options;
pub mod order;
pub mod paging;
pub mod prefer;
pub mod query;
pub mod select;
pub mod sql;
pub mod token;
pub mod url;
