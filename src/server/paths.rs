//! Path normalization: every spelling of a path becomes the one that the route table has.
//!
//! Clients send trailing and doubled slashes, names in any letter case, percent-encoded names,
//! `deviceConfigurations('id')` and type-cast segments. The casts of configurations are removed
//! from the path and stored in the extensions of the request.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_URLComponents>

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Uri, uri::PathAndQuery},
    middleware::Next,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::routes;
use crate::{
    catalogue::{NAMESPACE, spelled, version::MOUNTS},
    odata::casts::TypeCasts,
};

/// Replaces the path of the request with its normalized form.
///
/// # Errors
/// None.
pub async fn normalize<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let (path, casts) = canonical_path(request.path());
    if casts != TypeCasts::default() {
        request.extensions_mut().insert(casts);
    }
    if path != request.path() {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let mut parts = request.uri().clone().into_parts();
        if let Ok(path_and_query) = PathAndQuery::try_from(format!("{path}{query}")) {
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                request.match_info_mut().get_mut().update(&uri);
                request.head_mut().uri = uri;
            }
        }
    }
    next.call(request).await
}

/// The segments of the route table by their lower-case names.
static SEGMENTS: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let paths = routes::SERVICE_ROUTES.iter().chain(routes::GRAPH_ROUTES).map(|route| route.path);
    let paths = paths.chain(MOUNTS.iter().map(|(mount, _)| *mount));
    let segments = paths.flat_map(|path| path.split('/')).filter(|segment| !segment.starts_with('{'));
    // Use only the name of a function, because its arguments are case-sensitive.
    let names = segments.map(|segment| segment.split('(').next().unwrap_or(segment));
    names.filter(|name| !name.is_empty()).map(|name| (name.to_ascii_lowercase(), name)).collect()
});

/// The segments that are functions.
static FUNCTIONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let segments = routes::GRAPH_ROUTES.iter().flat_map(|route| route.path.split('/'));
    segments.filter_map(|segment| segment.split_once('(')).map(|(name, _)| name).collect()
});

const CONFIGURATIONS: &str = "deviceConfigurations";

fn canonical_path(path: &str) -> (String, TypeCasts) {
    let mut casts = TypeCasts::default();
    let mut segments: Vec<Cow<str>> = Vec::new();
    for raw in path.split('/').filter(|segment| !segment.is_empty()) {
        let Ok(segment) = percent_decode_str(raw).decode_utf8() else { return (path.to_owned(), TypeCasts::default()) };
        let (name, arguments) = match segment.split_once('(') {
            Some((name, arguments)) => (name, Some(arguments)),
            None => (&*segment, None),
        };
        let known = SEGMENTS.get(&name.to_ascii_lowercase());
        match (known, arguments) {
            (Some(known), None) => segments.push(Cow::Borrowed(known)),
            (Some(known), Some(arguments)) => match key(arguments).filter(|_| !FUNCTIONS.contains(known)) {
                Some(key) => segments.extend([Cow::Borrowed(*known), encoded(&key).into()]),
                // A function: keep its arguments.
                None => segments.push(format!("{known}({}", inside(raw)).into()),
            },
            (None, None) if is_qualified(name) => match segments.as_slice() {
                [.., last] if last == CONFIGURATIONS => casts.of_collection.push(spelled(name)),
                [.., before, key] if before == CONFIGURATIONS && !SEGMENTS.contains_key(&key.to_ascii_lowercase()) => {
                    casts.of_entity.push(spelled(name));
                }
                _ => segments.push(raw.into()),
            },
            (None, Some(arguments))
                if is_qualified(name) && segments.last().is_some_and(|last| last == CONFIGURATIONS) =>
            {
                match key(arguments) {
                    Some(key) => {
                        casts.of_collection.push(spelled(name));
                        segments.push(encoded(&key).into());
                    }
                    None => segments.push(raw.into()),
                }
            }
            _ => segments.push(raw.into()),
        }
    }
    (format!("/{}", segments.join("/")), casts)
}

/// Returns the text after the first parenthesis, as it was sent.
fn inside(raw: &str) -> String {
    let plain = raw.find('(').map(|at| (at, at + 1));
    let encoded = raw.find("%28").map(|at| (at, at + 3));
    let (_, start) = plain.into_iter().chain(encoded).min().unwrap_or((raw.len(), raw.len()));
    // The route table has the closing parenthesis unencoded.
    let inside = &raw[start..];
    inside.strip_suffix("%29").map_or_else(|| inside.to_owned(), |inside| format!("{inside})"))
}

/// Returns the key in `('key')` or `(id='key')`, without the first parenthesis.
fn key(arguments: &str) -> Option<String> {
    let inner = arguments.strip_suffix(')')?.trim();
    let is_named = inner.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("id="));
    let inner = if is_named { &inner[3..] } else { inner };
    let key = inner.strip_prefix('\'')?.strip_suffix('\'')?;
    // A quote in the key is doubled.
    let is_one = !key.is_empty() && !key.replace("''", "").contains('\'');
    is_one.then(|| key.replace("''", "'"))
}

fn encoded(key: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(key, KEPT).to_string()
}

/// Returns whether a name is in Graph's namespace, case-insensitively.
fn is_qualified(name: &str) -> bool {
    let namespace = name.get(..NAMESPACE.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAMESPACE));
    namespace && name[NAMESPACE.len()..].starts_with('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_address_has_one_spelling() {
        let id = "7e159a72-9a72-7e15-729a-157e729a157e";
        let (collection, one) = (
            "/v1.0/deviceManagement/deviceConfigurations",
            format!("/v1.0/deviceManagement/deviceConfigurations/{id}"),
        );
        for (written, expected) in [
            ("/".to_owned(), "/".to_owned()),
            ("//health///LIVE/".to_owned(), "/health/live".to_owned()),
            ("/V1.0/DeviceManagement//deviceconfigurations/".to_owned(), collection.to_owned()),
            (format!("{collection}('{id}')"), one.clone()),
            (format!("{collection}(id='{id}')/"), one.clone()),
            (format!("{collection}%28%27{id}%27%29"), one.clone()),
            (format!("{collection}('a''b')"), format!("{collection}/a%27b")),
            (format!("{collection}/%24Count"), format!("{collection}/$count")),
            (format!("{one}/Assign"), format!("{one}/assign")),
            (format!("{one}/microsoft.graph.ASSIGN"), format!("{one}/microsoft.graph.assign")),
            (
                format!("{one}/getomasettingplaintextvalue(secretReferenceValueId='A%2Fb')"),
                format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId='A%2Fb')"),
            ),
            (
                format!("{one}/getOmaSettingPlainTextValue%28secretReferenceValueId=%27A%2Fb%27%29"),
                format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId=%27A%2Fb%27)"),
            ),
            (format!("{one}/getOmaSettingPlainTextValue('x')"), format!("{one}/getOmaSettingPlainTextValue('x')")),
            (format!("{one}/assign%28x%29"), format!("{one}/assign(x)")),
            (format!("{collection}/$count/microsoft.graph.x"), format!("{collection}/$count/microsoft.graph.x")),
            (format!("{one}/assignments('X Y')"), format!("{one}/assignments/X%20Y")),
            (format!("{one}/assignments/microsoft.graph.x"), format!("{one}/assignments/microsoft.graph.x")),
            ("/v1.0/whatever/It%20Is".to_owned(), "/v1.0/whatever/It%20Is".to_owned()),
        ] {
            assert_eq!(canonical_path(&written), (expected, TypeCasts::default()), "{written}");
        }
        let cast = "microsoft.graph.iosCustomConfiguration".to_owned();
        assert_eq!(
            canonical_path(&format!("{collection}/{cast}/$count")),
            (format!("{collection}/$count"), TypeCasts { of_collection: vec![cast.clone()], ..TypeCasts::default() })
        );
        assert_eq!(
            canonical_path(&format!("{collection}('{id}')/{cast}/assignments")),
            (format!("{one}/assignments"), TypeCasts { of_entity: vec![cast], ..TypeCasts::default() })
        );
    }

    proptest! {
        #[test]
        fn what_is_canonical_stays(path in prop::collection::vec(prop::sample::select(vec![
            "v1.0", "Beta", "deviceManagement", "deviceConfigurations", "deviceConfigurations('a')", "%41", "", "a b", "('x')", "$count", "%", "%ff", "microsoft.graph.assign", "assignments(id='%2F')", "assign%28x%29", "getOmaSettingPlainTextValue%28x=%27y%27)"
        ]), 0..8)) {
            let (once, _) = canonical_path(&format!("/{}", path.join("/")));
            prop_assert_eq!(canonical_path(&once).0, once);
        }

        #[test]
        fn arbitrary_paths_are_an_answer(path in "\\PC{0,64}") {
            let _ = canonical_path(&path);
        }
    }
}
