//! `/fhe/v1/jobs`: how a job stands, its result, its end; and the answer to who begins one.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::evaluate::reply_response;
use super::keys::{no_content, private};
use super::routes::unknown_job;
use super::{Answer, PREFIX, blocking};
use crate::fhe::batch::Ask;
use crate::fhe::jobs::{JobId, State, Status, View};
use crate::fhe::{FheService, Problem, Tenant};

/// When it is worth to ask again how a job stands.
const QUEUED_RETRY_S: u64 = 5;
const RUNNING_RETRY_S: u64 = 1;

impl FheService {
    /// The request is on disk before the promise is made.
    pub(super) async fn begin_job(&self, ask: Ask, bytes: Bytes) -> Answer {
        let jobs = self.jobs.clone();
        let view = blocking(move || Ok(jobs.begin(&ask, &bytes)?)).await?;
        let mut response = standing(StatusCode::ACCEPTED, &view);
        let headers = response.headers_mut();
        let location = format!("{PREFIX}jobs/{}", view.id.as_str());
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(header::LOCATION, location);
        }
        //= https://www.rfc-editor.org/rfc/rfc7240#section-3
        //# The Preference-Applied response header MAY be included within a response message as an indication as to
        //# which Prefer tokens were honored by the server and applied to the processing of a request.
        let applied = HeaderValue::from_static("respond-async");
        headers.insert("preference-applied", applied);
        Ok(response)
    }

    pub(super) fn describe_job(&self, tenant: &Tenant, id: &str) -> Answer {
        Ok(standing(StatusCode::OK, &self.job(tenant, id)?))
    }

    /// As the answer of a request that waited would be; 202 until it is there.
    pub(super) async fn job_result(&self, tenant: &Tenant, id: &str) -> Answer {
        let view = self.job(tenant, id)?;
        match &view.note.state {
            State::Waiting => Ok(standing(StatusCode::ACCEPTED, &view)),
            State::Failed { problem, .. } => Ok(failed(problem)),
            State::Done { server_timing, .. } => {
                let (jobs, tenant, id) = (self.jobs.clone(), tenant.clone(), view.id.clone());
                let reply = blocking(move || Ok(jobs.reply(&tenant, &id)?)).await?;
                Ok(reply_response(reply, server_timing))
            }
        }
    }

    pub(super) async fn forget_job(&self, tenant: &Tenant, id: &str) -> Answer {
        let id = JobId::parse(id).ok_or_else(unknown_job)?;
        let (jobs, tenant) = (self.jobs.clone(), tenant.clone());
        blocking(move || Ok(jobs.remove(&tenant, &id)?)).await?;
        Ok(no_content())
    }

    fn job(&self, tenant: &Tenant, id: &str) -> Result<View, Problem> {
        let id = JobId::parse(id).ok_or_else(unknown_job)?;
        Ok(self.jobs.view(tenant, &id)?)
    }
}

fn standing(status: StatusCode, view: &View) -> Response<Bytes> {
    let mut response = private(status, describe(view).to_string().into());
    let retry_s = match view.status {
        Status::Queued => Some(QUEUED_RETRY_S),
        Status::Running => Some(RUNNING_RETRY_S),
        Status::Done | Status::Failed => None,
    };
    if let Some(seconds) = retry_s {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Times are seconds since 1970.
fn describe(view: &View) -> Value {
    let (status, finished, problem) = match (view.status, &view.note.state) {
        (_, State::Done { finished, .. }) => ("done", Some(*finished), None),
        (_, State::Failed { finished, problem }) => ("failed", Some(*finished), Some(problem)),
        (Status::Running, State::Waiting) => ("running", None, None),
        (Status::Queued | Status::Done | Status::Failed, State::Waiting) => ("queued", None, None),
    };
    let mut described = json!({
        "id": view.id.as_str(),
        "status": status,
        "program": view.note.program,
        "key": view.note.key.to_string(),
        "created": view.note.created,
        "finished": finished,
        "expires": view.note.expires,
    });
    if let Some(problem) = problem {
        described["problem"] = problem.clone();
    }
    described
}

/// The answer that a request that waited would have had.
fn failed(problem: &Value) -> Response<Bytes> {
    let status = problem["status"].as_u64();
    let status = status.and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = private(status, problem.to_string().into());
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
