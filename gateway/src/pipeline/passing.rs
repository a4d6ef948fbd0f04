//! A body that policies watch: each piece goes through their stream hooks, and what they make of it goes on.
//!
//! Invariants: no piece is held back for a later one; the end is told once; what breaks the message off is the last thing that comes; a
//! call that has to wait goes on by itself, so that nobody else's turn depends on who reads this body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use policy_host::Passed;
use tokio::task::JoinHandle;

use super::Route;
use super::held::Shared;
use crate::body::{Body, BodyError, Refusal};

/// Which way the body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToUpstream,
    ToClient,
}

/// What every piece needs.
pub(super) struct Watch {
    pub(super) route: Arc<Route>,
    pub(super) shared: Arc<Shared>,
    pub(super) way: Way,
}

type Asking = Pin<Box<dyn Future<Output = (Watch, Asked)> + Send>>;

/// What became of a piece, and whether there is anybody left who watches.
struct Asked {
    passed: Result<Bytes, Refusal>,
    trailers: Option<HeaderMap>,
    watched: bool,
}

enum State {
    /// Nobody is asked; `None` once nobody watches any more.
    Reading(Option<Watch>),
    Asking {
        asking: Asking,
        end: bool,
    },
    /// The same, of a policy that had to wait.
    Waiting {
        asking: JoinHandle<(Watch, Asked)>,
        end: bool,
    },
    /// What may still come are trailers.
    Over,
}

struct Passing {
    body: Body,
    state: State,
    /// They go on once the end was told.
    trailers: Option<HeaderMap>,
}

impl Watch {
    /// Passes `body` on as the policies let it.
    pub(super) fn over(self, body: Body) -> Body {
        let passing = Passing {
            body,
            state: State::Reading(Some(self)),
            trailers: None,
        };
        Body::wrap_with(passing, |error| error)
    }

    /// The same for a body that is here already.
    pub(super) async fn at_once(self, bytes: Bytes) -> Result<Bytes, Refusal> {
        let (watch, asked) = self.ask(bytes, true, None).await;
        drop(watch);
        asked.passed
    }

    /// Trailers come with the end.
    async fn ask(self, piece: Bytes, end: bool, trailers: Option<HeaderMap>) -> (Self, Asked) {
        let chain = &self.route.chain;
        let mut turn = self.shared.turn().await;
        let passed = match self.way {
            Way::ToUpstream => chain.on_request_chunk(&mut turn, piece, end).await,
            Way::ToClient => chain.on_response_chunk(&mut turn, piece, end).await,
        };
        let mut passed = self.read(passed);
        let need = match self.way {
            Way::ToUpstream => chain.request_need(&turn),
            Way::ToClient => chain.response_need(&turn),
        };
        let mut left = trailers.filter(|_| passed.is_ok());
        if let Some(trailers) = left.take_if(|_| need.watch) {
            let trailed = match self.way {
                Way::ToUpstream => chain.on_request_trailers(&mut turn, trailers).await,
                Way::ToClient => chain.on_response_trailers(&mut turn, trailers).await,
            };
            match self.read(trailed) {
                Ok(trailers) => left = Some(trailers),
                Err(refusal) => passed = Err(refusal),
            }
        }
        drop(turn);
        let asked = Asked {
            passed,
            trailers: left.filter(|trailers| !trailers.is_empty()),
            watched: need.watch,
        };
        (self, asked)
    }

    fn read<T>(&self, passed: Passed<T>) -> Result<T, Refusal> {
        match passed {
            Passed::On(left) => Ok(left),
            Passed::Unavailable(unavailable) => Err(Refusal::Unavailable(unavailable.to_string())),
            Passed::BrokenOff(policy) => Err(Refusal::ByPolicy(policy)),
            Passed::Answered(policy, answer) => {
                self.shared.leave_answer(answer);
                Err(Refusal::ByPolicy(policy))
            }
        }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Passing {
    /// A piece that nobody has seen; the end of the body is an empty one.
    fn read(&mut self, cx: &mut Context<'_>, watch: Option<Watch>) -> Option<Polled> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                self.state = State::Reading(watch);
                return Some(Poll::Pending);
            }
            Poll::Ready(frame) => frame,
        };
        let Some(watch) = watch else {
            self.state = State::Reading(None);
            return Some(Poll::Ready(frame));
        };
        let mut trailers = None;
        let (piece, end) = match frame {
            None => (Bytes::new(), true),
            Some(Err(error)) => {
                self.state = State::Over;
                return Some(Poll::Ready(Some(Err(error))));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => (piece, self.body.is_empty()),
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    (Bytes::new(), true)
                }
            },
        };
        let asking = Box::pin(watch.ask(piece, end, trailers));
        self.state = State::Asking { asking, end };
        None
    }

    fn answered(&mut self, watch: Watch, asked: Asked, end: bool) -> Option<Polled> {
        let left = match asked.passed {
            Ok(left) => left,
            Err(refusal) => {
                self.state = State::Over;
                self.body = Body::empty();
                return Some(Poll::Ready(Some(Err(BodyError::Refused(refusal)))));
            }
        };
        self.trailers = asked.trailers;
        self.state = match (end, asked.watched) {
            (true, _) => State::Over,
            (false, true) => State::Reading(Some(watch)),
            (false, false) => State::Reading(None),
        };
        (!left.is_empty()).then(|| Poll::Ready(Some(Ok(Frame::data(left)))))
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        loop {
            let done = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => Some(match self.trailers.take() {
                    Some(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    None => Pin::new(&mut self.body).poll_frame(cx),
                }),
                State::Reading(watch) => self.read(cx, watch),
                State::Asking { mut asking, end } => match asking.as_mut().poll(cx) {
                    Poll::Pending => {
                        let asking = tokio::spawn(asking);
                        self.state = State::Waiting { asking, end };
                        None
                    }
                    Poll::Ready((watch, asked)) => self.answered(watch, asked, end),
                },
                State::Waiting { mut asking, end } => match Pin::new(&mut asking).poll(cx) {
                    Poll::Pending => {
                        self.state = State::Waiting { asking, end };
                        Some(Poll::Pending)
                    }
                    Poll::Ready(Ok((watch, asked))) => self.answered(watch, asked, end),
                    Poll::Ready(Err(_)) => {
                        self.body = Body::empty();
                        let cut = BodyError::Cancelled("a policy's call was cut short");
                        Some(Poll::Ready(Some(Err(cut))))
                    }
                },
            };
            if let Some(done) = done {
                return done;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Over | State::Reading(None) => self.trailers.is_none() && self.body.is_empty(),
            State::Reading(Some(_)) | State::Asking { .. } | State::Waiting { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Over | State::Reading(None) => self.body.size_hint(),
            // What policies add or take away is not known.
            State::Reading(Some(_)) | State::Asking { .. } | State::Waiting { .. } => {
                SizeHint::default()
            }
        }
    }
}
