//! The type-cast segments of a path.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};

use crate::error::ApiError;

/// The type-cast segments of a path, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeCasts {
    /// The casts of the collection of configurations.
    pub of_collection: Vec<String>,
    /// The casts of one configuration.
    pub of_entity: Vec<String>,
}

impl FromRequest for TypeCasts {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}
