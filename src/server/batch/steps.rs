//! Parses a batch into its steps.
//!
//! Unknown members are ignored, because the SDKs send some. A batch that cannot be parsed is
//! refused as a whole. If one step is invalid, the batch runs, and the error is its answer.
//!
//! <https://learn.microsoft.com/graph/json-batching>
//! <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_BatchRequestsandResponses>

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::{
        Method,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};
use serde_json::{Value, value::RawValue};

use super::members::{BatchObject, dry_run, is_connection_header, read, wrong};
use crate::{
    catalogue::messages,
    error::{ApiError, shorten},
    odata::{body, body_memory::Reservation, json},
};

/// The maximum number of steps of a batch.
pub const MAX_REQUESTS: usize = 20;

/// A valid batch.
pub struct Batch(pub Vec<Step>);

/// One request of a batch.
pub struct Step {
    /// The id, which the answer repeats. Ids are unique, and compared case-insensitively.
    pub id: String,
    /// The method. It may be one that no route has.
    pub method: Method,
    /// The URL as it was sent.
    pub url: String,
    /// The headers of the step itself.
    pub headers: HeaderMap,
    /// The body: the original JSON text, or the text of another media type.
    pub body: Option<String>,
    /// The indexes of the earlier steps that this step depends on.
    pub depends_on: Vec<usize>,
    /// The atomicity group. Its steps are adjacent.
    pub group: Option<String>,
}

impl FromRequest for Batch {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, body) = (request.clone(), body::read(request, payload));
        Box::pin(async move {
            let bytes = body.await?;
            let batch = Self::parse(&bytes)?;
            // The batch keeps the text of its steps. Each step reserves memory for its values when
            // it runs.
            if let Some(reservation) = request.extensions_mut().get_mut::<Reservation>() {
                reservation.shrink_to(bytes.len());
            }
            Ok(batch)
        })
    }
}

impl Batch {
    fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let unreadable = |error| ApiError::bad_request(format!("Unable to read JSON request payload: {error}."));
        json::check_start(bytes)?;
        let sent: &RawValue = serde_json::from_slice(bytes).map_err(unreadable)?;
        if !sent.get().starts_with('{') {
            return Err(ApiError::bad_request("The request body must be a JSON object with the member 'requests'."));
        }
        let json::RawObject(sent) = serde_json::from_slice(bytes).map_err(unreadable)?;
        sent.get("validateOnly").map_or(Ok(()), |_| Err(dry_run("validateOnly")))?;
        let requests = sent.get("requests").filter(|requests| requests.get() != "null");
        let requests = requests.ok_or_else(|| wrong("requests", "is missing. Send an array of requests"))?;
        if !requests.get().starts_with('[') {
            return Err(wrong("requests", "must be an array of requests"));
        }
        let requests: Vec<&RawValue> = read("requests", requests)?;
        if requests.len() > MAX_REQUESTS {
            return Err(ApiError::bad_request(format!(
                "A batch may have at most {MAX_REQUESTS} requests, and this one has {}. Send the others in another batch.",
                requests.len()
            )));
        }
        let mut batch = Self(Vec::with_capacity(requests.len()));
        for (index, request) in requests.into_iter().enumerate() {
            let expected = "must be an object with the members of a request";
            let step = batch.step(&BatchObject::read(format!("requests[{index}]"), request, expected)?)?;
            batch.0.push(step);
        }
        batch.check_groups()?;
        Ok(batch)
    }

    /// Parses the next step.
    fn step(&self, sent: &BatchObject) -> Result<Step, ApiError> {
        sent.reject_dry_run()?;
        let id = name(&sent.required("id")?);
        let id = id.ok_or_else(|| sent.wrong("id", "must be a string that is not empty, or a number"))?;
        if self.0.iter().any(|step| step.id.eq_ignore_ascii_case(&id)) {
            let unique =
                format!("is '{}', which an earlier request already has. Give each request its own id", shorten(&id));
            return Err(sent.wrong("id", &unique));
        }
        let method = sent.required("method")?;
        let method = method.as_str().and_then(|method| Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok());
        let method = method.ok_or_else(|| sent.wrong("method", "must be an HTTP method, for example GET"))?;
        let url = match sent.required("url")? {
            Value::String(url) if !url.is_empty() => url,
            _ => return Err(sent.wrong("url", "must be a string that is not empty")),
        };
        let headers = headers(sent)?;
        let body = sent.raw("body").map(|body| text(body, &headers));
        let group = match sent.value("atomicityGroup")? {
            None => None,
            Some(group) => {
                let of_group = name(&group);
                Some(of_group.ok_or_else(|| sent.wrong("atomicityGroup", "must be a string that is not empty"))?)
            }
        };
        let mut depends_on = self.depends_on(&sent.place("dependsOn"), sent.value("dependsOn")?)?;
        // Microsoft's Python SDK sends `depends_on`. Ignoring it would run steps whose
        // prerequisite has failed.
        depends_on.extend(self.depends_on(&sent.place("depends_on"), sent.value("depends_on")?)?);
        Ok(Step { id, method, url, headers, body, depends_on, group })
    }

    /// Returns the indexes of the steps that `dependsOn` names. It may also name groups.
    fn depends_on(&self, place: &str, sent: Option<Value>) -> Result<Vec<usize>, ApiError> {
        let Some(sent) = sent else { return Ok(Vec::new()) };
        let ids = sent.as_array().map(|ids| ids.iter().map(name).collect::<Option<Vec<_>>>());
        let ids = ids.flatten().ok_or_else(|| wrong(place, "must be an array of the ids of earlier requests"))?;
        let mut places = Vec::new();
        for id in ids {
            let before = places.len();
            let is_meant = |step: &Step| {
                step.id.eq_ignore_ascii_case(&id)
                    || step.group.as_ref().is_some_and(|group| group.eq_ignore_ascii_case(&id))
            };
            places.extend(self.0.iter().enumerate().filter(|(_, step)| is_meant(step)).map(|(index, _)| index));
            if places.len() == before {
                let unknown = format!("names '{}', and no earlier request has that id", shorten(&id));
                return Err(wrong(place, &unknown));
            }
        }
        Ok(places)
    }

    /// Checks that no step has the name of a group as its id, and that the steps of each group
    /// are adjacent.
    fn check_groups(&self) -> Result<(), ApiError> {
        for (index, step) in self.0.iter().enumerate() {
            let Some(group) = &step.group else { continue };
            let place = format!("requests[{index}].atomicityGroup");
            if self.0.iter().any(|step| step.id.eq_ignore_ascii_case(group)) {
                return Err(wrong(&place, "is the id of a request. Give the group another name"));
            }
            let is_started = self.0[..index].iter().any(|before| before.is_in(step));
            if is_started && !self.0[index - 1].is_in(step) {
                return Err(wrong(
                    &place,
                    "continues after a request of another group or of none. Put the requests of a group one after the other",
                ));
            }
        }
        Ok(())
    }
}

impl Step {
    /// Returns whether the step only reads.
    pub fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Returns whether both steps are in the same atomicity group.
    pub fn is_in(&self, other: &Self) -> bool {
        let (group, other) = (self.group.as_deref(), other.group.as_deref());
        group.zip(other).is_some_and(|(group, other)| group.eq_ignore_ascii_case(other))
    }
}

/// Reads a name. Some clients send it as a number.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(name) if !name.is_empty() => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn headers(step: &BatchObject) -> Result<HeaderMap, ApiError> {
    let mut headers = HeaderMap::new();
    let Some(sent) = step.raw("headers") else { return Ok(headers) };
    let sent = BatchObject::read(step.place("headers"), sent, "must be an object of strings")?;
    for (name, value) in sent.all() {
        let value: Value = read(&sent.place(name), value)?;
        let Value::String(text) = &value else {
            return Err(sent.wrong(name, &format!("must be a string, not {}", messages::kind(&value))));
        };
        // As in HTTP, whitespace around the value does not belong to the value.
        let text = text.trim_matches([' ', '\t']);
        let (Ok(header), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) else {
            return Err(sent.wrong(name, "is not a valid HTTP header"));
        };
        if headers.contains_key(&header) {
            return Err(sent.wrong(name, "repeats a header in another letter case. Send it once"));
        }
        if !is_connection_header(&header) {
            headers.insert(header, value);
        }
    }
    Ok(headers)
}

/// Returns the body of the request: JSON as it is, and a string of another media type without
/// its quotes.
fn text(body: &RawValue, headers: &HeaderMap) -> String {
    let media_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = media_type.trim().to_ascii_lowercase().starts_with("application/json");
    match serde_json::from_str::<String>(body.get()) {
        Ok(text) if !is_json => text,
        _ => body.get().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(batch: &Value) -> String {
        Batch::parse(batch.to_string().as_bytes()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn get() -> Value {
        json!({"id": "1", "method": "GET", "url": "/x"})
    }

    /// Returns a batch of two steps. The second has this member.
    fn with(member: &str, value: Value) -> Value {
        let mut step = get();
        step[member] = value;
        json!({ "requests": [{"id": "0", "method": "GET", "url": "/x"}, step] })
    }

    fn assert_refusals<const N: usize>(cases: [(Value, &str); N]) {
        for (batch, expected) in cases {
            assert_eq!(refusal(&batch), expected, "{batch}");
        }
    }

    #[test]
    fn a_batch_that_cannot_be_read_says_where() {
        assert_refusals([
            (json!({}), "The member 'requests' of the batch is missing. Send an array of requests."),
            (json!({"requests": {}}), "The member 'requests' of the batch must be an array of requests."),
            (
                json!({"requests": ["x"]}),
                "The member 'requests[0]' of the batch must be an object with the members of a request.",
            ),
            (
                json!({"requests": vec![get(); 21]}),
                "A batch may have at most 20 requests, and this one has 21. Send the others in another batch.",
            ),
            (
                json!({"requests": [{"method": "GET", "url": "/x"}]}),
                "The member 'requests[0].id' of the batch is missing. Every request needs one.",
            ),
            (
                json!({"requests": [["1", "GET", "/x"]]}),
                "The member 'requests[0]' of the batch must be an object with the members of a request.",
            ),
        ]);
    }

    #[test]
    fn a_step_that_cannot_be_read_says_where() {
        assert_refusals([
            (
                with("id", json!("")),
                "The member 'requests[1].id' of the batch must be a string that is not empty, or a number.",
            ),
            (
                with("id", json!(0)),
                "The member 'requests[1].id' of the batch is '0', which an earlier request already has. Give each request its own id.",
            ),
            (
                with("method", json!("G T")),
                "The member 'requests[1].method' of the batch must be an HTTP method, for example GET.",
            ),
            (with("url", json!(7)), "The member 'requests[1].url' of the batch must be a string that is not empty."),
            (with("headers", json!([])), "The member 'requests[1].headers' of the batch must be an object of strings."),
            (
                with("headers", json!({"a": 1})),
                "The member 'requests[1].headers.a' of the batch must be a string, not a number.",
            ),
            (
                with("headers", json!({"a": "b\r\nc"})),
                "The member 'requests[1].headers.a' of the batch is not a valid HTTP header.",
            ),
            (
                with("headers", json!({"a": "b", "A": "c"})),
                "The member 'requests[1].headers.A' of the batch repeats a header in another letter case. Send it once.",
            ),
        ]);
    }

    #[test]
    fn a_dependency_or_group_that_cannot_be_read_says_where() {
        let step = |id: &str, group: &str| json!({"id": id, "method": "GET", "url": "/x", "atomicityGroup": group});
        assert_refusals([
            (
                with("dependsOn", json!("0")),
                "The member 'requests[1].dependsOn' of the batch must be an array of the ids of earlier requests.",
            ),
            (
                with("dependsOn", json!(["0", "1"])),
                "The member 'requests[1].dependsOn' of the batch names '1', and no earlier request has that id.",
            ),
            (
                with("depends_on", json!(["2"])),
                "The member 'requests[1].depends_on' of the batch names '2', and no earlier request has that id.",
            ),
            (
                with("atomicityGroup", json!("0")),
                "The member 'requests[1].atomicityGroup' of the batch is the id of a request. Give the group another name.",
            ),
            (
                json!({"requests": [step("1", "a"), step("2", "b"), step("3", "A")]}),
                "The member 'requests[2].atomicityGroup' of the batch continues after a request of another group or of none. Put the requests of a group one after the other.",
            ),
        ]);
    }

    #[test]
    fn what_is_no_json_of_a_batch_says_so() {
        let deep = format!(r#"{{"requests": [{{"id": {}"1"{}}}]}}"#, "[".repeat(200), "]".repeat(200));
        let no_object = "The request body must be a JSON object with the member 'requests'.";
        for (text, said) in [
            (r#""x""#, no_object),
            ("7", no_object),
            ("null", no_object),
            (r#"[[["1", "GET", "/x"]]]"#, no_object),
            ("{", "Unable to read JSON request payload: EOF while parsing an object at line 1 column 1."),
            (
                r#"{"requests": [], "requests": []}"#,
                "Unable to read JSON request payload: the member 'requests' appears twice in one object at line 1 column 32.",
            ),
            (
                r#"{"requests": [{"id": "1", "id": "2", "method": "GET", "url": "/x"}]}"#,
                "The member 'requests[0]' of the batch cannot be read: the member 'id' appears twice in one object.",
            ),
            (
                r#"{"requests": [{"id": "1", "method": "GET", "url": "/x", "headers": {"a": "b", "a": "c"}}]}"#,
                "The member 'requests[0].headers' of the batch cannot be read: the member 'a' appears twice in one object.",
            ),
            (
                r#"{"requests": [{"id": "\ud800", "method": "GET", "url": "/x"}]}"#,
                "The member 'requests[0].id' of the batch cannot be read: unexpected end of hex escape.",
            ),
            (&deep, "The member 'requests[0].id' of the batch cannot be read: recursion limit exceeded."),
        ] {
            let refusal = Batch::parse(text.as_bytes()).err().map(|error| error.to_string());
            assert_eq!(refusal.as_deref(), Some(said), "{text}");
        }
    }

    #[test]
    fn what_clients_send_is_read() {
        let batch = json!({"requests": [
            {"id": 1, "method": "get", "url": "/x", "depends_on": [], "headers": null, "body": null, "dependsOn": null},
            {"id": "A", "method": "POST", "url": "x", "headers": {"content-type": "\t application/json ", "Host": "y", "Forwarded": "host=y", "X-Forwarded-Port": "1"},
             "body": {"b": 1.50, "a": [1]}, "dependsOn": [1], "atomicityGroup": "g"},
            {"id": "3", "method": "DELETE", "url": "x", "depends_on": [], "dependsOn": ["G"], "body": "text"},
            {"id": "4", "method": "GET", "url": "x", "depends_on": ["a", "3"]},
        ]})
        .to_string()
        .replace("1.5,", "1.50,");
        let Batch(steps) = Batch::parse(batch.as_bytes()).expect("a batch");
        assert_eq!(steps.iter().map(|step| step.id.as_str()).collect::<Vec<_>>(), ["1", "A", "3", "4"]);
        assert_eq!((&steps[0].method, steps[0].headers.len(), &steps[0].body), (&Method::GET, 0, &None));
        assert_eq!(steps[1].headers.len(), 1);
        assert_eq!(steps[1].headers.get("content-type").map(HeaderValue::as_bytes), Some(&b"application/json"[..]));
        assert_eq!(steps[1].depends_on, [0]);
        assert_eq!(steps[2].depends_on, [1]);
        assert_eq!(steps[3].depends_on, [1, 2]);
        assert_eq!(steps[2].body.as_deref(), Some("text"));
        assert!(steps[1].body.as_deref().is_some_and(|body| body.contains("1.5")));
    }
}
