//! The size of a page: what the service allows, and what the client prefers.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload};
use serde::Serialize;

use super::{
    links::Collection,
    prefer::{PREFERENCE_APPLIED, Preferences},
};
use crate::error::ApiError;

/// The media type of `$count`.
pub const TEXT_PLAIN: &str = "text/plain";

/// The sizes of a page, in rows.
#[derive(Clone, Copy, Debug)]
pub struct PageSizes {
    /// The size when the client does not choose one.
    pub default: u32,
    /// The maximum size.
    pub max: u32,
}

/// The page sizes of the service and the preference of the request.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    sizes: PageSizes,
    preferred: Option<u32>,
}

impl Paging {
    /// Returns the number of rows of a page for a request with this `$top`.
    pub fn size(&self, top: Option<u32>) -> u32 {
        let max = self.preferred.unwrap_or(self.sizes.max).min(self.sizes.max);
        top.unwrap_or(self.preferred.unwrap_or(self.sizes.default)).min(max)
    }

    /// Returns the answer. Its `Preference-Applied` header names the page size that the client
    /// preferred.
    pub fn answer<T: Serialize>(&self, collection: Collection<T>) -> HttpResponse {
        let mut answer = HttpResponse::Ok();
        if let Some(preferred) = self.preferred {
            let applied = preferred.min(self.sizes.max);
            answer.insert_header((PREFERENCE_APPLIED, format!("odata.maxpagesize={applied}")));
        }
        answer.json(collection)
    }
}

impl FromRequest for Paging {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let sizes = request.app_data().copied().unwrap_or(PageSizes { default: 1000, max: 1000 });
        ready(Ok(Self { sizes, preferred: Preferences::of(request.headers()).max_page_size }))
    }
}
