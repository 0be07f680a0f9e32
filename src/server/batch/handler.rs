//! Runs the steps of a batch in order, and handles their dependencies.

use std::{cell::Cell, convert::Infallible, future::pending, ops::Range};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{MessageBody, SizedStream},
    http::{Method, Uri, header::HeaderMap},
    web::{Bytes, Data, ReqData},
};
use anyhow::anyhow;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    answer::Answer,
    dispatch::Dispatcher,
    steps::{Batch, Step},
    target,
};
use crate::{
    catalogue::version::Version,
    database::{connections::GroupTransaction, pool::Pool, request::RequestContext},
    error::{ApiError, shorten},
    odata::negotiate,
    server::{cancellation, telemetry},
};

/// The maximum number of concurrent reads of a batch. They use connections that other requests
/// need, too.
const MAX_CONCURRENT_READS: usize = 4;

/// The maximum size of the answers in MiB. The service holds all answers in memory until the
/// last step has run. Above this size, steps that read are refused.
const MAX_ANSWERS_MIB: usize = 64;

/// `POST /$batch`
///
/// # Errors
/// 400 for a batch that cannot be read. Otherwise the answer is 200, also when steps fail.
pub async fn post(
    request: HttpRequest,
    dispatcher: Option<Data<Dispatcher>>,
    pool: Data<Pool>,
    started: ReqData<RequestContext>,
    Batch(steps): Batch,
) -> Result<HttpResponse, ApiError> {
    // The application that runs the steps has no dispatcher.
    let nested =
        || ApiError::bad_request("A batch cannot contain another batch. Put its requests into the outer batch.");
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
        run.run_next().await;
    }
    let answers = run.answers;
    Ok(response(&steps, answers))
}

/// Returns the answer to the batch. Frees the answer to each step when it has been sent.
fn response(steps: &[Step], answers: Vec<Answer>) -> HttpResponse {
    let mut pieces = Vec::new();
    for (step, answer) in steps.iter().zip(answers) {
        pieces.push(if pieces.is_empty() { r#"{"responses":["#.into() } else { ",".into() });
        pieces.extend(answer.entry(&step.id));
    }
    pieces.push(if pieces.is_empty() { r#"{"responses":[]}"#.into() } else { "]}".into() });
    let length = pieces.iter().map(Bytes::len).sum::<usize>();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    // The parameter tells `negotiate` to leave the answers of the steps unchanged.
    HttpResponse::Ok().content_type("application/json;charset=utf-8").body(SizedStream::new(length as u64, pieces))
}

/// A batch that is running.
struct Run<'a> {
    outer: &'a HttpRequest,
    dispatcher: &'a Dispatcher,
    pool: &'a Data<Pool>,
    started: RequestContext,
    steps: &'a [Step],
    /// The answers of the steps so far, including those of a group that may still be rolled
    /// back.
    answers: Vec<Answer>,
    /// The size of all answers in bytes, including those of concurrent reads that are still
    /// running.
    bytes: Cell<usize>,
}

/// Waits until a group has taken longer than `database.group_timeout_ms`. Returns the refusal.
async fn timed_out(pool: &Pool, begun: Instant) -> ApiError {
    let Some(limit) = pool.limits().group else { return pending().await };
    sleep_until(begun + limit).await;
    if pool.was_overloaded(begun) {
        return ApiError::unavailable(anyhow!("an atomicity group took longer than database.group_timeout_ms"));
    }
    ApiError::bad_request(format!(
        "The atomicity group took longer than {} ms, which is the limit, and nothing of it was written. Send fewer requests in one group, and send searches outside the group.",
        limit.as_millis()
    ))
}

/// Waits until the client has disconnected. Returns the refusal, which only the log shows.
async fn disconnected(request: &HttpRequest) -> ApiError {
    // As for a request alone, whose client may close its sending side before the answer comes.
    sleep(cancellation::INTERVAL).await;
    cancellation::disconnected(request).await;
    ApiError::failed_dependency(
        "The client disconnected before the end of the atomicity group. Nothing of it was written.",
    )
}

/// The step that made its group fail, and its answer.
struct Failed {
    place: usize,
    answer: Answer,
}

impl Run<'_> {
    /// Runs the next step, the next group, or the next concurrent reads.
    async fn run_next(&mut self) {
        let first = self.answers.len();
        self.bytes.set(self.answers.iter().map(|answer| answer.body.len()).sum());
        let (step, following) = (&self.steps[first], &self.steps[first + 1..]);
        if step.group.is_some() {
            let more = following.iter().take_while(|other| other.is_in(step)).count();
            return self.group(first..first + 1 + more).await;
        }
        let can_run_concurrently = |other: &&Step| {
            other.is_read() && other.group.is_none() && other.depends_on.iter().all(|place| *place < first)
        };
        let more = if step.is_read() { following.iter().take_while(can_run_concurrently).count() } else { 0 };
        let permits = self.dispatcher.concurrent_read_permits(more.min(MAX_CONCURRENT_READS - 1));
        let answers = stream::iter((first..=first + more).map(|place| self.answer(place, None)));
        let answers: Vec<_> = answers.buffered(1 + permits.len()).collect().await;
        self.answers.extend(answers);
    }

    /// Runs the steps of an atomicity group: all of them, or none.
    async fn group(&mut self, places: Range<usize>) {
        let first = places.start;
        let only_reads = self.steps[places.clone()].iter().all(Step::is_read);
        let group = match GroupTransaction::begin(self.pool, only_reads, self.started).await {
            Ok(group) => group,
            Err(error) => {
                let answer = self.refuse(first, error.into());
                return self.answer_rolled_back(places, Failed { place: first, answer });
            }
        };
        let (outer, pool, begun) = (self.outer, self.pool, Instant::now());
        let ended = tokio::select! {
            biased;
            failed = self.group_steps(places.clone(), &group) => failed,
            refusal = timed_out(pool, begun) => Some(self.failed_early(refusal)),
            refusal = disconnected(outer) => Some(self.failed_early(refusal)),
        };
        if let Some(failed) = ended {
            group.roll_back().await;
            return self.answer_rolled_back(places, failed);
        }
        let Err(error) = group.commit(&self.answers[first].path).await else { return };
        if error.is_outcome_unknown() {
            return self.answer_unknown_outcome(places, error);
        }
        let answer = self.refuse(first, error);
        self.answer_rolled_back(places, Failed { place: first, answer });
    }

    /// Runs the steps of a group in its transaction. Returns the first that fails.
    async fn group_steps(&mut self, places: Range<usize>, group: &GroupTransaction) -> Option<Failed> {
        for place in places {
            let answer = self.answer(place, Some(group.clone())).await;
            if answer.has_failed() {
                return Some(Failed { place, answer });
            }
            self.answers.push(answer);
        }
        None
    }

    /// Returns the step that was running when its group ended early. It has no answer yet.
    fn failed_early(&self, refusal: ApiError) -> Failed {
        let place = self.answers.len();
        Failed { place, answer: self.refuse(place, refusal) }
    }

    /// Answers the steps of a group that was rolled back.
    fn answer_rolled_back(&mut self, places: Range<usize>, failed: Failed) {
        let id = shorten(&self.steps[failed.place].id);
        let message = format!(
            "Nothing of the atomicity group was written, because its request '{id}' failed. The answer to that request says why."
        );
        let refuse = |place| self.refuse(place, ApiError::failed_dependency(message.clone()));
        let before: Vec<_> = (places.start..failed.place).map(refuse).collect();
        let after: Vec<_> = (failed.place + 1..places.end).map(refuse).collect();
        self.answers.truncate(places.start);
        self.answers.extend(before.into_iter().chain([failed.answer]).chain(after));
    }

    /// Answers an atomicity group whose commit has an unknown outcome.
    fn answer_unknown_outcome(&mut self, places: Range<usize>, error: ApiError) {
        let mut error = Some(error);
        let answers = places.clone().map(|place| {
            let of_step = error.take().unwrap_or_else(|| ApiError::outcome_unknown(&self.answers[place].path));
            self.refuse(place, of_step)
        });
        let answers: Vec<_> = answers.collect();
        self.answers.truncate(places.start);
        self.answers.extend(answers);
    }

    /// Runs one step, unless a step that it depends on has failed.
    async fn answer(&self, place: usize, group: Option<GroupTransaction>) -> Answer {
        let step = &self.steps[place];
        let result = async {
            self.check(step)?;
            let request = (step.method.clone(), self.target(place)?, self.headers(step));
            self.dispatcher.answer(self.outer, request, step.body.clone(), group).await
        };
        let answer = result.await.unwrap_or_else(|refusal| self.refuse(place, refusal));
        self.bytes.set(self.bytes.get() + answer.body.len());
        answer
    }

    /// Checks whether a step may run.
    fn check(&self, step: &Step) -> Result<(), ApiError> {
        let has_failed = |place: &&usize| self.answers.get(**place).is_some_and(Answer::has_failed);
        if let Some(failed) = step.depends_on.iter().find(has_failed) {
            let id = shorten(&self.steps[*failed].id);
            return Err(ApiError::failed_dependency(format!(
                "This request was not executed, because it depends on the request '{id}', which failed."
            )));
        }
        if step.is_read() && self.bytes.get() >= MAX_ANSWERS_MIB << 20 {
            return Err(ApiError::bad_request(format!(
                "This request was not executed, because the answers to the earlier requests of the batch exceed the limit of {MAX_ANSWERS_MIB} MiB. Ask for smaller pages with $top, or send this request in another batch."
            )));
        }
        Ok(())
    }

    /// Answers a step that did not run or was rolled back.
    fn refuse(&self, place: usize, refusal: ApiError) -> Answer {
        let step = &self.steps[place];
        let path = match self.target(place) {
            Ok(uri) => uri.path().to_owned(),
            Err(_) => shorten(step.url.split('?').next().unwrap_or_default()),
        };
        let earlier = self.answers.get(place).map(|answer| &answer.headers);
        let response = telemetry::refusal((&step.method, &path), &self.headers(step), earlier, refusal);
        let (mut response, body) = response.into_parts();
        negotiate::set_version_header(response.headers_mut());
        let body = match step.method {
            Method::HEAD => Bytes::new(),
            _ => body.try_into_bytes().unwrap_or_default(),
        };
        Answer { status: response.status(), headers: response.headers().clone(), body, path }
    }

    /// Returns the headers of the request of a step.
    fn headers(&self, step: &Step) -> HeaderMap {
        Dispatcher::headers(self.outer, &step.headers)
    }

    /// Returns the target of a step. `$id` at the start of its URL stands for the resource of
    /// the answer to an earlier request.
    fn target(&self, place: usize) -> Result<Uri, ApiError> {
        let (step, version) = (&self.steps[place], Version::of(self.outer));
        let reference = target::reference(step, &self.steps[..place])?;
        let url = reference.and_then(|(place, rest)| Some(self.answers.get(place)?.resource() + rest));
        target::resolve(url.as_ref().unwrap_or(&step.url), version)
    }
}
