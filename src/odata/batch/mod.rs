//! `$batch`: up to 20 requests in one, each answered as it would be alone.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod.rs` | the order of the steps, what depends on what, and the answer |
//! | [`steps`] | the request, read |
//! | [`members`] | its members, and what is said of a wrong one |
//! | [`dispatch`] | a step, carried out by the application's own routes |
//!
//! Reads that stand next to each other are carried out side by side, everything
//! else one after the other, so that a read sees every write before it and none
//! behind it. An atomicity group is one transaction and is answered after its
//! commit.
//!
//! <https://learn.microsoft.com/graph/json-batching>

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Uri,
        header::{HeaderMap, LOCATION},
    },
    web::Data,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgPool;
use url::Url;

use self::{
    dispatch::{Answer, Dispatcher},
    steps::{Batch, Step},
};
use super::{links::Version, negotiate};
use crate::{
    database::connections::Group,
    error::{ApiError, excerpt},
    routes::MOUNTS,
    telemetry,
};

pub mod dispatch;
pub mod members;
pub mod steps;

/// Reads carried out side by side at most, of connections that others need too.
const SIDE_BY_SIDE: u32 = 4;

/// `POST /$batch`
///
/// # Errors
/// 400 for a batch that cannot be read; whatever becomes of its steps is 200.
pub async fn post(
    request: HttpRequest,
    dispatcher: Option<Data<Dispatcher>>,
    pool: Data<PgPool>,
    Batch(steps): Batch,
) -> Result<HttpResponse, ApiError> {
    // The application that carries out steps has none.
    let nested = || ApiError::bad_request("A batch cannot stand in a batch. Put its requests beside the others.");
    let dispatcher = dispatcher.ok_or_else(nested)?;
    let mut run = Run { outer: &request, dispatcher: &dispatcher, pool: &pool, steps: &steps, answers: Vec::new() };
    while run.answers.len() < steps.len() {
        run.go_on().await?;
    }
    let responses = steps.iter().zip(&run.answers).map(|(step, answer)| Response::of(step, answer));
    let responses = responses.collect::<Result<Vec<_>, _>>().map_err(ApiError::internal)?;
    // With a parameter, by which `negotiate` leaves the answers of the steps as they are.
    Ok(HttpResponse::Ok().content_type("application/json;charset=utf-8").json(Responses { responses }))
}

/// A batch on its way.
struct Run<'a> {
    outer: &'a HttpRequest,
    dispatcher: &'a Dispatcher,
    pool: &'a PgPool,
    steps: &'a [Step],
    /// Those of the first steps.
    answers: Vec<Answer>,
}

impl Run<'_> {
    /// Carries out what comes next: a group, or reads side by side, or one step.
    async fn go_on(&mut self) -> Result<(), ApiError> {
        let first = self.answers.len();
        let step = &self.steps[first];
        let after = |is_of_it: &dyn Fn(&Step) -> bool| {
            let behind = self.steps[first + 1..].iter().position(|step| !is_of_it(step));
            behind.map_or(self.steps.len(), |count| first + 1 + count)
        };
        if step.group.is_some() {
            let end = after(&|other| other.is_in(step));
            return self.group(first, end).await;
        }
        let is_beside = |other: &Step| {
            other.reads() && other.group.is_none() && other.depends_on.iter().all(|place| *place < first)
        };
        let end = if step.reads() { after(&is_beside) } else { first + 1 };
        let side_by_side = self.pool.options().get_max_connections().div_ceil(2).min(SIDE_BY_SIDE);
        let answers = stream::iter((first..end).map(|place| self.answer(place, &self.answers, None)));
        let answers: Vec<_> = answers.buffered(side_by_side as usize).collect().await;
        for answer in answers {
            self.answers.push(answer?);
        }
        Ok(())
    }

    /// Carries out the steps of an atomicity group: all of them, or none.
    async fn group(&mut self, first: usize, end: usize) -> Result<(), ApiError> {
        let failed = match Group::begin(self.pool).await {
            Err(error) => (first, self.refuse(first, error.into()).await?),
            Ok(group) => match self.in_group(first, end, &group).await? {
                Err(failed) => {
                    group.roll_back().await;
                    failed
                }
                Ok(answers) => match group.commit().await {
                    Ok(()) => {
                        self.answers.extend(answers);
                        return Ok(());
                    }
                    Err(error) => {
                        let error = ApiError::from_commit(error, &self.steps[first].url);
                        if error.is_outcome_unknown() {
                            return self.unknown(first, end, error).await;
                        }
                        (first, self.refuse(first, error).await?)
                    }
                },
            },
        };
        self.take_back(first, end, failed).await
    }

    /// The answers of a group's steps, or the place and the answer of the one that failed.
    async fn in_group(
        &self,
        first: usize,
        end: usize,
        group: &Group,
    ) -> Result<Result<Vec<Answer>, (usize, Answer)>, ApiError> {
        let mut answers = Vec::new();
        for place in first..end {
            let answer = self.answer(place, &answers, Some(group.clone())).await?;
            if answer.has_failed() {
                return Ok(Err((place, answer)));
            }
            answers.push(answer);
        }
        Ok(Ok(answers))
    }

    /// Answers a group of which nothing was written, since one of its steps failed.
    async fn take_back(&mut self, first: usize, end: usize, (failed, answer): (usize, Answer)) -> Result<(), ApiError> {
        let mut answer = Some(answer);
        for place in first..end {
            let of_step = match answer.take_if(|_| place == failed) {
                Some(answer) => answer,
                None => {
                    let id = excerpt(&self.steps[failed].id);
                    let message = format!(
                        "Nothing of the atomicity group was written, since its request '{id}' failed. Its answer says why."
                    );
                    self.refuse(place, ApiError::failed_dependency(message)).await?
                }
            };
            self.answers.push(of_step);
        }
        Ok(())
    }

    /// Answers a group of which nobody knows whether it was written.
    async fn unknown(&mut self, first: usize, end: usize, error: ApiError) -> Result<(), ApiError> {
        let mut error = Some(error);
        for place in first..end {
            let of_step = error.take().unwrap_or_else(|| ApiError::outcome_unknown(&self.steps[place].url));
            let answer = self.refuse(place, of_step).await?;
            self.answers.push(answer);
        }
        Ok(())
    }

    /// Carries one step out, unless what it depends on has failed. `in_group`
    /// has the answers of its group so far.
    async fn answer(&self, place: usize, in_group: &[Answer], group: Option<Group>) -> Result<Answer, ApiError> {
        let step = &self.steps[place];
        let answered = |place: usize| self.answers.get(place).or_else(|| in_group.get(place - self.answers.len()));
        let failed = step.depends_on.iter().find(|place| answered(**place).is_some_and(Answer::has_failed));
        if let Some(failed) = failed {
            let id = excerpt(&self.steps[*failed].id);
            let message = format!("The request '{id}' failed, and this one depends on it. It was not carried out.");
            return self.refuse(place, ApiError::failed_dependency(message)).await;
        }
        match self.uri(step, answered) {
            Ok(uri) => {
                let request = (step.method.clone(), uri, self.headers(step));
                self.dispatcher.answer(self.outer, request, step.body.clone(), group).await
            }
            Err(refusal) => self.refuse(place, refusal).await,
        }
    }

    /// Answers a step that is not carried out.
    async fn refuse(&self, place: usize, refusal: ApiError) -> Result<Answer, ApiError> {
        let step = &self.steps[place];
        let mut response = telemetry::refusal(&self.headers(step), refusal);
        negotiate::say_version(response.headers_mut());
        Answer::read(response, false).await
    }

    fn headers(&self, step: &Step) -> HeaderMap {
        Dispatcher::headers(self.outer, &step.headers)
    }

    /// Where a step goes: an absolute URL's path, whatever its host; else a path
    /// with a version, or one below the version of the batch. `$id` in front is
    /// what a request answered that it depends on.
    fn uri<'b>(&self, step: &Step, answered: impl Fn(usize) -> Option<&'b Answer>) -> Result<Uri, ApiError> {
        let unreadable = || ApiError::bad_request(format!("The url '{}' cannot be read.", excerpt(&step.url)));
        let text = match self.reference(step)? {
            Some((place, rest)) => {
                let location = answered(place).and_then(|answer| answer.headers.get(LOCATION)?.to_str().ok());
                let plain = self.steps[place].url.split('?').next().unwrap_or_default();
                format!("{}{rest}", location.unwrap_or(plain))
            }
            None => step.url.clone(),
        };
        let has_origin = ["http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        let url = match has_origin {
            true => Url::parse(&text),
            false => Url::parse(&format!("http://batch/{}", text.trim_start_matches('/'))),
        };
        let url = url.map_err(|_| unreadable())?;
        let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
        let version = match has_origin || is_versioned(url.path()) {
            true => String::new(),
            false => format!("/{}", Version::of(self.outer).segment()),
        };
        format!("{version}{}{query}", url.path()).parse().map_err(|_| unreadable())
    }

    /// The step that `$id` in front of a URL means, and what follows.
    fn reference<'b>(&self, step: &'b Step) -> Result<Option<(usize, &'b str)>, ApiError> {
        let Some(behind) = step.url.trim_start_matches('/').strip_prefix('$') else { return Ok(None) };
        let (id, rest) = behind.split_at(behind.find(['/', '?']).unwrap_or(behind.len()));
        let Some(place) = self.steps.iter().position(|other| other.id.eq_ignore_ascii_case(id)) else {
            return Ok(None);
        };
        match step.depends_on.contains(&place) {
            true => Ok(Some((place, rest))),
            false => Err(ApiError::bad_request(format!(
                "The url begins with what the request '{}' answers. Name that one in 'dependsOn'.",
                excerpt(id)
            ))),
        }
    }
}

/// Whether a path begins with a version, in any letter case.
fn is_versioned(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    MOUNTS.iter().filter_map(|(mount, _)| mount.strip_prefix('/')).any(|mount| mount.eq_ignore_ascii_case(first))
}

#[derive(Serialize)]
struct Responses<'a> {
    responses: Vec<Response<'a>>,
}

#[derive(Serialize)]
struct Response<'a> {
    id: &'a str,
    status: u16,
    headers: IndexMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
}

impl<'a> Response<'a> {
    fn of(step: &'a Step, answer: &'a Answer) -> serde_json::Result<Self> {
        let mut headers = IndexMap::new();
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let line: &mut String = headers.entry(spelled(name.as_str())).or_default();
            *line = if line.is_empty() { value.into_owned() } else { format!("{line}, {value}") };
        }
        let text = || String::from_utf8_lossy(&answer.body);
        let body = match answer.media_type() {
            _ if answer.body.is_empty() => None,
            "application/json" => Some(RawValue::from_string(text().into_owned())?),
            media_type if media_type.starts_with("text/") => Some(to_raw_value(&text())?),
            _ => Some(to_raw_value(&BASE64_URL_SAFE_NO_PAD.encode(&answer.body))?),
        };
        Ok(Self { id: &step.id, status: answer.status.as_u16(), headers, body })
    }
}

/// A header's name as it is documented; there are clients that look for no
/// other letter case.
fn spelled(name: &str) -> &str {
    const DOCUMENTED: [&str; 9] = [
        "Allow",
        "Content-Type",
        "Location",
        "OData-EntityId",
        "OData-Version",
        "Preference-Applied",
        "Retry-After",
        "Vary",
        "WWW-Authenticate",
    ];
    DOCUMENTED.into_iter().find(|documented| documented.eq_ignore_ascii_case(name)).unwrap_or(name)
}
