//! Reads a body into memory, up to a limit, and gives it back unharmed where it is longer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Body, BodyError};

/// A body after an attempt to read all of it.
#[derive(Debug)]
pub enum Gathered {
    Whole(Bytes),
    /// It is longer than the limit: all of it, with what was read in front.
    Longer(Body),
}

impl Body {
    /// Everything, if it has no more than `limit` bytes. Where it says so itself beforehand, nothing is read.
    pub async fn gather(self, limit: u64) -> Result<Gathered, BodyError> {
        if let Some(bytes) = self.in_memory().filter(|bytes| bytes.len() as u64 <= limit) {
            return Ok(Gathered::Whole(bytes));
        }
        if self.exact_len().is_some_and(|length| length > limit) {
            return Ok(Gathered::Longer(self));
        }
        let mut rest = self;
        let mut read = BytesMut::new();
        while let Some(frame) = rest.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            read.extend_from_slice(&data);
            if read.len() as u64 > limit {
                let front = Frame::data(read.freeze());
                return Ok(Gathered::Longer(rest.behind(front)));
            }
        }
        Ok(Gathered::Whole(read.freeze()))
    }

    /// Looks whether the body has begun, without waiting for it: what it begins with is still in it. An error is all that it had.
    pub async fn begun(mut self) -> Result<Self, BodyError> {
        let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self).poll_frame(cx)));
        match first.await {
            Poll::Pending => Ok(self),
            Poll::Ready(None) => Ok(Self::empty()),
            Poll::Ready(Some(Ok(frame))) => Ok(self.behind(frame)),
            Poll::Ready(Some(Err(error))) => Err(error),
        }
    }

    fn behind(self, front: Frame<Bytes>) -> Self {
        let rejoined = Rejoined {
            front: Some(front),
            rest: self,
        };
        Self::wrap_with(rejoined, |error| error)
    }
}

struct Rejoined {
    front: Option<Frame<Bytes>>,
    rest: Body,
}

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.front.take() {
            Some(front) => Poll::Ready(Some(Ok(front))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_none() && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = HttpBody::size_hint(&self.rest);
        let front = self.front.as_ref().and_then(Frame::data_ref);
        let front = front.map_or(0, |front| front.len() as u64);
        match hint.upper() {
            Some(upper) => {
                hint.set_upper(upper + front);
                hint.set_lower(hint.lower() + front);
            }
            None => hint.set_lower(hint.lower() + front),
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(parts: &[&'static str]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, BodyError>> = parts
            .iter()
            .map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))))
            .collect();
        Body::wrap_with(
            http_body_util::StreamBody::new(futures_util::stream::iter(frames)),
            |error| error,
        )
    }

    #[tokio::test]
    async fn what_fits_is_whole_and_what_does_not_comes_back_unharmed() {
        let whole = |gathered| match gathered {
            Ok(Gathered::Whole(bytes)) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(whole(streamed(&["ab", "cd"]).gather(4).await), "abcd");
        assert_eq!(whole(Body::full("abcd").gather(4).await), "abcd");
        assert_eq!(whole(Body::empty().gather(0).await), "");
        for body in [streamed(&["ab", "cd", "ef"]), Body::full("abcdef")] {
            let Ok(Gathered::Longer(longer)) = body.gather(3).await else {
                panic!("it fits")
            };
            assert_eq!(longer.collect_bounded(6).await.expect("all"), "abcdef");
        }
    }
}
