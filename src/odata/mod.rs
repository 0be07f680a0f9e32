//! OData: everything that is the same for all resources.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `url.rs` | the check of every request line |
//! | `negotiate.rs` | OData's versions, and how much control information an answer carries |
//! | `options.rs` | the query options of a request |
//! | `query.rs` | a query as one statement; pages, and the query of the next link |
//! | `order.rs` | `$orderby`, and the start of a page |
//! | `paging.rs` | the size of a page |
//! | `token.rs` | `$skiptoken` |
//! | `select.rs` | `$select` |
//! | `filter/` | `$filter`: its grammar and its tree |
//! | `sql/` | the tree as SQL, checked against the catalogue |
//! | [`large_document`] | documents about the service that are kept compressed |
//! | `key.rs` | ids: keys in a path, ids that a client chooses, ids of objects of other
//! services |
//! | `etag.rs` | compares `If-Match` and `If-None-Match` with an ETag, which each resource computes |
//! | `prefer.rs` | the `Prefer` header |
//! | `casts.rs` | the type-cast segments of a path |
//! | `body.rs` | the extractor that reads a request body |
//! | `body_memory.rs` | limits on the memory of request bodies |
//! | `json.rs` | the JSON of request bodies |
//! | `members.rs` | reads the members of a JSON object one by one as typed values |
//! | `metadata.rs` | `$metadata` in XML and JSON |
//! | `links.rs` | the root of links; `@odata.context`, `@odata.nextLink` and `Location` |

pub mod body;
pub mod body_memory;
pub mod casts;
pub mod etag;
pub mod filter;
pub mod json;
pub mod key;
pub mod large_document;
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
