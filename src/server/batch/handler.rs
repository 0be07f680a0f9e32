//! The order of the steps of a batch, and what depends on what.

use std::{cell::Cell, convert::Infallible, ops::Range};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{MessageBody, SizedStream},
    http::{Method, Uri, header::HeaderMap},
    web::{Bytes, Data, ReqData},
};
use futures_util::{StreamExt, stream};

use super::{
    answer::Answer,
    dispatch::Dispatcher,
    steps::{Batch, Step},
    target,
};
use crate::{
    catalogue::version::Version,
    database::{connections::Group, pool::Pool, request::RequestContext},
    error::{ApiError, shorten},
    odata::negotiate,
    server::telemetry,
};

/// Reads carried out side by side at most, of connections that others need too.
const SIDE_BY_SIDE: usize = 4;

/// MiB of answers, which are all held until the last one is there, after which
/// no step reads any more.
const MOST_MIB: usize = 64;

/// `POST /$batch`
///
/// # Errors
/// 400 for a batch that cannot be read; whatever becomes of its steps is 200.
pub async fn post(
    request: HttpRequest,
    dispatcher: Option<Data<Dispatcher>>,
    pool: Data<Pool>,
    started: ReqData<RequestContext>,
    Batch(steps): Batch,
) -> Result<HttpResponse, ApiError> {
    // The application that carries out steps has none.
    let nested = || ApiError::bad_request("A batch cannot stand in a batch. Put its requests beside the others.");
    let dispatcher = dispatcher.ok_or_else(nested)?;
    let mut run = Run {
        outer: &request,
        dispatcher: &dispatcher,
        pool: &pool,
        started: *started,
        steps: &steps,
        answers: Vec::new(),
        bytes: Cell::default(),
    };
    while run.answers.len() < steps.len() {
        run.go_on().await;
    }
    let answers = run.answers;
    Ok(written(&steps, answers))
}

/// The answer to the batch. What each step was answered is let go when it is sent.
fn written(steps: &[Step], answers: Vec<Answer>) -> HttpResponse {
    let mut pieces = Vec::new();
    for (step, answer) in steps.iter().zip(answers) {
        pieces.push(if pieces.is_empty() { r#"{"responses":["#.into() } else { ",".into() });
        pieces.extend(answer.entry(&step.id));
    }
    pieces.push(if pieces.is_empty() { r#"{"responses":[]}"#.into() } else { "]}".into() });
    let length = pieces.iter().map(Bytes::len).sum::<usize>();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    // With a parameter, by which `negotiate` leaves the answers of the steps as they are.
    HttpResponse::Ok().content_type("application/json;charset=utf-8").body(SizedStream::new(length as u64, pieces))
}

/// A batch on its way.
struct Run<'a> {
    outer: &'a HttpRequest,
    dispatcher: &'a Dispatcher,
    pool: &'a Pool,
    started: RequestContext,
    steps: &'a [Step],
    /// Those of the first steps; also of a group that may still be taken back.
    answers: Vec<Answer>,
    /// What all answers hold, those of reads under way too.
    bytes: Cell<usize>,
}

/// The step of a group by which nothing of it was written.
struct Failed {
    place: usize,
    answer: Answer,
}

impl Run<'_> {
    /// Carries out what comes next: a group, or reads side by side, or one step.
    async fn go_on(&mut self) {
        let first = self.answers.len();
        self.bytes.set(self.answers.iter().map(|answer| answer.body.len()).sum());
        let (step, behind) = (&self.steps[first], &self.steps[first + 1..]);
        if step.group.is_some() {
            let more = behind.iter().take_while(|other| other.is_in(step)).count();
            return self.group(first..first + 1 + more).await;
        }
        let is_beside = |other: &&Step| {
            other.reads() && other.group.is_none() && other.depends_on.iter().all(|place| *place < first)
        };
        let more = if step.reads() { behind.iter().take_while(is_beside).count() } else { 0 };
        let permits = self.dispatcher.beside(more.min(SIDE_BY_SIDE - 1));
        let answers = stream::iter((first..=first + more).map(|place| self.answer(place, None)));
        let answers: Vec<_> = answers.buffered(1 + permits.len()).collect().await;
        self.answers.extend(answers);
    }

    /// Carries out the steps of an atomicity group: all of them, or none.
    async fn group(&mut self, places: Range<usize>) {
        let first = places.start;
        let group = match Group::begin(self.pool, self.started).await {
            Ok(group) => group,
            Err(error) => {
                let answer = self.refuse(first, error.into());
                return self.take_back(places, Failed { place: first, answer });
            }
        };
        for place in places.clone() {
            let answer = self.answer(place, Some(group.clone())).await;
            if answer.has_failed() {
                group.roll_back().await;
                return self.take_back(places, Failed { place, answer });
            }
            self.answers.push(answer);
        }
        let Err(error) = group.commit(&self.answers[first].path).await else { return };
        if error.is_outcome_unknown() {
            return self.unknown(places, error);
        }
        let answer = self.refuse(first, error);
        self.take_back(places, Failed { place: first, answer });
    }

    /// Answers a group of which nothing was written.
    fn take_back(&mut self, places: Range<usize>, failed: Failed) {
        let id = shorten(&self.steps[failed.place].id);
        let message = format!(
            "Nothing of the atomicity group was written, since its request '{id}' failed. Its answer says why."
        );
        let refuse = |place| self.refuse(place, ApiError::failed_dependency(message.clone()));
        let before: Vec<_> = (places.start..failed.place).map(refuse).collect();
        let behind: Vec<_> = (failed.place + 1..places.end).map(refuse).collect();
        self.answers.truncate(places.start);
        self.answers.extend(before.into_iter().chain([failed.answer]).chain(behind));
    }

    /// Answers an atomicity group whose commit has an unknown outcome.
    fn unknown(&mut self, places: Range<usize>, error: ApiError) {
        let mut error = Some(error);
        let answers = places.clone().map(|place| {
            let of_step = error.take().unwrap_or_else(|| ApiError::outcome_unknown(&self.answers[place].path));
            self.refuse(place, of_step)
        });
        let answers: Vec<_> = answers.collect();
        self.answers.truncate(places.start);
        self.answers.extend(answers);
    }

    /// Carries one step out, unless what it depends on has failed.
    async fn answer(&self, place: usize, group: Option<Group>) -> Answer {
        let step = &self.steps[place];
        let carried_out = async {
            self.check(step)?;
            let request = (step.method.clone(), self.target(place)?, self.headers(step));
            self.dispatcher.answer(self.outer, request, step.body.clone(), group).await
        };
        let answer = carried_out.await.unwrap_or_else(|refusal| self.refuse(place, refusal));
        self.bytes.set(self.bytes.get() + answer.body.len());
        answer
    }

    /// Checks whether a step may run.
    fn check(&self, step: &Step) -> Result<(), ApiError> {
        let has_failed = |place: &&usize| self.answers.get(**place).is_some_and(Answer::has_failed);
        if let Some(failed) = step.depends_on.iter().find(has_failed) {
            let id = shorten(&self.steps[*failed].id);
            return Err(ApiError::failed_dependency(format!(
                "The request '{id}' failed, and this one depends on it. It was not carried out."
            )));
        }
        if step.reads() && self.bytes.get() >= MOST_MIB << 20 {
            return Err(ApiError::bad_request(format!(
                "The answers before this one have more than {MOST_MIB} MiB together, the most that a batch reads. Ask for pages with $top, or in another batch."
            )));
        }
        Ok(())
    }

    /// Answers a step that is not carried out, or is taken back.
    fn refuse(&self, place: usize, refusal: ApiError) -> Answer {
        let step = &self.steps[place];
        let path = match self.target(place) {
            Ok(uri) => uri.path().to_owned(),
            Err(_) => shorten(step.url.split('?').next().unwrap_or_default()),
        };
        let earlier = self.answers.get(place).map(|answer| &answer.headers);
        let response = telemetry::refusal((&step.method, &path), &self.headers(step), earlier, refusal);
        let (mut response, body) = response.into_parts();
        negotiate::say_version(response.headers_mut());
        let body = match step.method {
            Method::HEAD => Bytes::new(),
            _ => body.try_into_bytes().unwrap_or_default(),
        };
        Answer { status: response.status(), headers: response.headers().clone(), body, path }
    }

    /// The headers with which a step is carried out.
    fn headers(&self, step: &Step) -> HeaderMap {
        Dispatcher::headers(self.outer, &step.headers)
    }

    /// Where a step goes. `$id` in front of its URL is what a request before it
    /// answered.
    fn target(&self, place: usize) -> Result<Uri, ApiError> {
        let (step, version) = (&self.steps[place], Version::of(self.outer));
        let reference = target::reference(step, &self.steps[..place])?;
        let meant = reference.and_then(|(place, rest)| Some(self.answers.get(place)?.resource() + rest));
        target::resolve(meant.as_ref().unwrap_or(&step.url), version)
    }
}
