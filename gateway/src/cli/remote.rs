//! The client's end of `/fhe/v1/…`: one HTTP/3 connection to a gateway, its answers in the user's words.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use transport::h3client::{ClientOptions, Connection};
use transport::tls::{ClientTls, Identity, Protocol, TrustRoots};

use super::Failure;

/// Of one part of an upload: small enough that a progress bar moves.
const PART_BYTES: usize = 64 << 10;
/// An encrypted evaluation may wait for others; a gateway that is silent for longer has gone.
const IDLE: Duration = Duration::from_secs(120);
/// Keeps the NATs on the way from forgetting the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(clap::Args, Clone)]
pub(super) struct Target {
    /// The gateway: https://host:port
    #[arg(long, value_name = "URL")]
    url: Uri,
    /// The authority that the gateway's certificate is from (PEM)
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Your certificate, if the gateway asks for one (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Your bearer token, if the gateway knows you by one: a file with nothing else in it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A token is one short line; more is some other file.
const MAX_TOKEN_FILE_BYTES: u64 = 4 << 10;

pub(super) struct Remote {
    connection: Connection,
    base: String,
    /// Never printed.
    authorization: Option<HeaderValue>,
}

/// One request.
pub(super) struct Call<'c> {
    pub method: Method,
    pub path: &'c str,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Bytes of the answer that are read at most.
    pub limit: usize,
}

/// The connection was lost, or never there: the same again may go well.
pub(super) struct Lost(pub String);

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::new(lost.0)
    }
}

pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Target {
    pub async fn connect(&self) -> Result<Remote, Failure> {
        self.connect_patient(IDLE).await
    }

    /// `idle`: a gateway from which nothing is heard for so long, not even that it lives, has gone.
    pub async fn connect_patient(&self, idle: Duration) -> Result<Remote, Failure> {
        let (host, port) = self.host_and_port()?;
        let tls = self.tls()?;
        let authorization = self.authorization()?;
        let unreachable = |why: String| Failure::new(format!("cannot reach {}: {why}", self.url));
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let addresses: Vec<_> = found.map_err(|e| unreachable(e.to_string()))?.collect();
        let options = ClientOptions {
            idle_timeout: idle,
            keep_alive: Some((idle / 3).min(KEEP_ALIVE)),
            ..ClientOptions::default()
        };
        let mut why = "the name has no address".to_owned();
        for address in addresses {
            match Connection::connect(address, &host, &tls, options.clone()).await {
                Ok(connection) => {
                    let authority = self
                        .url
                        .authority()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    return Ok(Remote {
                        connection,
                        base: format!("https://{authority}"),
                        authorization,
                    });
                }
                Err(error) => why = format!("{error} (tried {address} over UDP)"),
            }
        }
        Err(unreachable(why))
    }

    fn host_and_port(&self) -> Result<(String, u16), Failure> {
        let wrong = |why: &str| Failure::wrong_input(format!("--url {}: {why}", self.url));
        if self.url.scheme_str() != Some("https") {
            return Err(wrong("give it as https://host:port"));
        }
        if !matches!(self.url.path(), "" | "/") {
            return Err(wrong("leave the path out: it is always /fhe/v1"));
        }
        let host = self.url.host().ok_or_else(|| wrong("it names no host"))?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok((host, self.url.port_u16().unwrap_or(443)))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        use std::io::Read;
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let wrong =
            |why: &str| Failure::wrong_input(format!("--token-file {}: {why}", path.display()));
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text))
            .map_err(|error| wrong(&error.to_string()))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|_| wrong("it holds more than one line, or no text"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn tls(&self) -> Result<ClientTls, Failure> {
        let failed = |error: transport::TlsError| Failure::wrong_input(error.to_string());
        let roots = TrustRoots::load(&self.ca).map_err(failed)?;
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(Identity::load(cert, key).map_err(failed)?),
            _ => None,
        };
        Ok(ClientTls::new(roots, identity, &[Protocol::Http3]))
    }
}

impl Remote {
    /// One request; `sent` is told the bytes of the body as they leave. At most `limit` bytes of the answer are read.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: usize,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<Answer, Failure> {
        let headers = HeaderMap::new();
        let call = Call {
            method,
            path,
            headers,
            body,
            limit,
        };
        Ok(self.send(call, sent).await?)
    }

    /// The same with fields of its own, and told apart whether the connection was lost.
    pub async fn send(
        &self,
        call: Call<'_>,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<Answer, Lost> {
        let what = format!("{} {}{}", call.method, self.base, call.path);
        let lost = |why: String| Lost(format!("{what}: {why}"));
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header(header::CONTENT_LENGTH, call.body.len())
            .body(Parts {
                left: call.body,
                sent,
            })
            .map_err(|e| lost(e.to_string()))?;
        request.headers_mut().extend(call.headers);
        if let Some(authorization) = &self.authorization {
            let value = authorization.clone();
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = self
            .connection
            .send(request)
            .await
            .map_err(|e| lost(e.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, call.limit)
            .collect()
            .await
            .map_err(|e| lost(e.to_string()))?
            .to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    pub async fn fetch(&self, path: &str, limit: usize) -> Result<Bytes, Failure> {
        self.call(Method::GET, path, Bytes::new(), limit, |_| ())
            .await?
            .success()
    }

    pub async fn close(self) {
        self.connection.close_and_wait().await;
    }
}

impl Answer {
    /// The body of a 2xx; anything else in the gateway's words.
    pub fn success(self) -> Result<Bytes, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let mut detail = problem["detail"].as_str().unwrap_or("it gave no reason");
        // The gateway tells programs what to send; a person has a command for it.
        if problem["type"] == "urn:veilgate:fhe:unknown-key" {
            detail = "it does not have your evaluation key; give it with `veilgate keys register`";
        }
        if problem["type"] == "urn:veilgate:fhe:key-expired" {
            detail = "your evaluation key has expired there; give it again with `veilgate keys register`";
        }
        if self.status == StatusCode::UNAUTHORIZED {
            detail = "it does not know you; give --cert and --key, or the right --token-file";
        }
        Err(Failure::new(format!(
            "the gateway answered {}: {detail}",
            self.status
        )))
    }

    /// Seconds to wait before the same again, if the gateway is busy.
    pub fn retry_after(&self) -> Option<Duration> {
        let later = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        let seconds = self
            .headers
            .get(header::RETRY_AFTER)?
            .to_str()
            .ok()?
            .parse()
            .ok()?;
        later.then(|| Duration::from_secs(seconds))
    }
}

/// A body handed out in parts, each counted when it is taken.
struct Parts<F> {
    left: Bytes,
    sent: F,
}

impl<F> Unpin for Parts<F> {}

impl<F: Fn(u64)> Body for Parts<F> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.left.len().min(PART_BYTES);
        let part = self.left.split_to(len);
        (self.sent)(len as u64);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// One runtime for a command.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|e| Failure::new(format!("the runtime cannot be started: {e}")))?
        .block_on(work)
}
