//! `$skiptoken`: where in the rows of a query a page begins.
//!
//! It names the last row of the page before by its sort keys and its id, so
//! that the database goes there by an index. Rows that come or go meanwhile do
//! not move it.
//!
//! A token is a version, a digest, and the keys, in base64url. The digest is
//! taken of the query too: a token that was altered, or that belongs to another
//! query, is refused. It is no secret: a client that makes one up asks for rows after keys
//! of its own, which `$filter` can do as well.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::ApiError;

const VERSION: u8 = 1;
const DIGEST: usize = 12;

/// The last row of a page.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Position(
    /// Its values of `$orderby`, in its order.
    pub Vec<Value>,
    /// Its key.
    pub Uuid,
);

impl Position {
    /// The token of a query, which `query` tells apart from every other.
    pub fn token(&self, query: &str) -> String {
        let keys = serde_json::to_vec(self).unwrap_or_default();
        let mut token = vec![VERSION];
        token.extend(seal(query, &keys));
        token.extend(keys);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Reads a token of a query.
    ///
    /// # Errors
    /// 400 for one that this query did not give out.
    pub fn read(token: &str, query: &str) -> Result<Self, ApiError> {
        let read = || {
            let token = URL_SAFE_NO_PAD.decode(token).ok()?;
            let (version, rest) = token.split_first()?;
            let (sealed, keys) = rest.split_at_checked(DIGEST)?;
            let is_right = *version == VERSION && sealed == seal(query, keys);
            is_right.then(|| serde_json::from_slice(keys).ok()).flatten()
        };
        read().ok_or_else(foreign)
    }
}

/// 400 for a token that this query did not return.
pub fn foreign() -> ApiError {
    ApiError::bad_request(
        "The value of '$skiptoken' was not returned by this query. Follow '@odata.nextLink' unchanged, or start again without '$skiptoken'.",
    )
}

fn seal(query: &str, keys: &[u8]) -> [u8; DIGEST] {
    let sealed = [&(query.len() as u64).to_be_bytes(), query.as_bytes(), keys].concat();
    let mut seal = [0; DIGEST];
    seal.copy_from_slice(&digest(&SHA256, &sealed).as_ref()[..DIGEST]);
    seal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_of_its_query_alone(keys in prop::collection::vec(".{0,8}", 0..3), query in ".{0,16}", at in 0_usize..400, bit in 0_u8..8) {
            let position = Position(keys.into_iter().map(Value::from).collect(), Uuid::nil());
            let token = position.token(&query);
            prop_assert_eq!(Position::read(&token, &query).map_err(|refusal| refusal.to_string()), Ok(position));
            let other = query + "x";
            prop_assert!(Position::read(&token, &other).is_err());
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(Position::read(&URL_SAFE_NO_PAD.encode(bytes), &other[..other.len() - 1]).is_err());
        }

        #[test]
        fn arbitrary_text_is_refused(token in "\\PC{0,80}") {
            prop_assert!(Position::read(&token, "query").is_err());
        }
    }

    #[test]
    fn keys_of_every_kind_come_back() {
        let position = Position(vec![json!(null), json!(true), json!(1.5), json!("ü")], Uuid::max());
        assert_eq!(Position::read(&position.token("q"), "q").map_err(|refusal| refusal.to_string()), Ok(position));
    }
}
