//! `$skiptoken`: the position in the rows of a query at which a page begins.
//!
//! A position is the sort keys and the id of the last row of the previous page. The database
//! finds it by an index, and rows that are inserted or deleted meanwhile do not shift it.
//!
//! A token is a version, a digest and the keys, in base64url. The digest covers the query, too,
//! so the service refuses a token that was altered or belongs to another query. The digest is
//! not a signature: a client can make up a token for any position, which gives it nothing that
//! `$filter` does not.

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
    /// The values of its keys in `$orderby`.
    pub Vec<Value>,
    /// Its id.
    pub Uuid,
);

impl Position {
    /// Returns the token for the query that `query` identifies.
    pub fn token(&self, query: &str) -> String {
        let keys = serde_json::to_vec(self).unwrap_or_default();
        let mut token = vec![VERSION];
        token.extend(seal(query, &keys));
        token.extend(keys);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Reads a token of the query that `query` identifies.
    ///
    /// # Errors
    /// 400 for a token that this query did not return.
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

/// Returns the 400 for a token that this query did not return.
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
