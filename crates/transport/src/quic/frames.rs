//! Cuts the bytes of an HTTP/3 stream at its frame boundaries, and polices them (pure, no I/O).
//!
//! Each chunk handed on is either one frame's header or a part of one frame's payload, never more. Dropped on the
//! way: frames of unknown type (RFC 9114, section 9: must be ignored) and empty DATA frames, which carry nothing.
//! Refused: any other frame longer than its limit.

use bytes::{Bytes, BytesMut};

/// Types of frame (RFC 9114, section 7.2).
mod kind {
    pub const DATA: u64 = 0x00;
    pub const HEADERS: u64 = 0x01;
    /// CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID, and those of HTTP/2 that must be answered with an
    /// error: h3 is to see them.
    pub const KNOWN: [u64; 9] = [0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0d];
}

/// A control frame holds a few integers; RFC 9114 defines none that needs more.
const MAX_CONTROL_FRAME_BYTES: u64 = 4 << 10;

/// The stream type of a control stream (RFC 9114, section 6.2.1).
const CONTROL_STREAM: u64 = 0x00;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("a frame of type {kind:#x} declares {declared} bytes; the limit is {limit}")]
    TooLong {
        kind: u64,
        declared: u64,
        limit: u64,
    },
    #[error("the stream ended in the middle of a frame")]
    Truncated,
}

enum State {
    /// On a unidirectional stream: its type comes first.
    StreamType,
    /// A frame's type and length are next.
    Header,
    /// A payload is passing.
    Pass { left: u64 },
    /// A payload is thrown away.
    Skip { left: u64 },
    /// Not frames (QPACK or unknown unidirectional streams): all of it passes.
    Opaque,
}

pub struct FrameGate {
    state: State,
    max_headers: u64,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand this on.
    Chunk(Bytes),
    /// More input is needed.
    NeedMore,
}

impl FrameGate {
    /// For a request stream. `max_headers` bounds the encoded HEADERS frame.
    pub fn request(max_headers: u64) -> Self {
        Self {
            state: State::Header,
            max_headers,
        }
    }

    /// For a unidirectional stream of the peer.
    pub fn unidirectional() -> Self {
        Self {
            state: State::StreamType,
            max_headers: MAX_CONTROL_FRAME_BYTES,
        }
    }

    /// Takes the next chunk out of `input`.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Step, FrameFault> {
        loop {
            match &mut self.state {
                State::StreamType => {
                    let Some((kind, used)) = varint(input) else {
                        return Ok(Step::NeedMore);
                    };
                    self.state = if kind == CONTROL_STREAM {
                        State::Header
                    } else {
                        State::Opaque
                    };
                    return Ok(Step::Chunk(input.split_to(used).freeze()));
                }
                State::Header => {
                    let Some((kind, length, used)) = frame_header(input) else {
                        return Ok(Step::NeedMore);
                    };
                    let header = input.split_to(used).freeze();
                    self.state = self.admit(kind, length)?;
                    if matches!(self.state, State::Pass { .. }) {
                        return Ok(Step::Chunk(header));
                    }
                }
                State::Pass { left: 0 } | State::Skip { left: 0 } => self.state = State::Header,
                State::Pass { .. } | State::Skip { .. } | State::Opaque if input.is_empty() => {
                    return Ok(Step::NeedMore);
                }
                State::Pass { left } => {
                    let chunk = input.split_to(at_most(input.len(), *left)).freeze();
                    *left -= chunk.len() as u64;
                    return Ok(Step::Chunk(chunk));
                }
                State::Skip { left } => {
                    let skipped = input.split_to(at_most(input.len(), *left));
                    *left -= skipped.len() as u64;
                }
                State::Opaque => return Ok(Step::Chunk(input.split().freeze())),
            }
        }
    }

    /// The stream has ended with `rest` unread: is that a place to end?
    pub fn end(&self, rest: &[u8]) -> Result<(), FrameFault> {
        match self.state {
            State::Pass { left: 0 } | State::Skip { left: 0 } | State::Header
                if rest.is_empty() =>
            {
                Ok(())
            }
            State::Opaque | State::StreamType => Ok(()),
            State::Header | State::Pass { .. } | State::Skip { .. } => Err(FrameFault::Truncated),
        }
    }

    fn admit(&self, kind: u64, length: u64) -> Result<State, FrameFault> {
        let limit = match kind {
            kind::DATA if length == 0 => return Ok(State::Skip { left: 0 }),
            kind::DATA => return Ok(State::Pass { left: length }),
            kind::HEADERS => self.max_headers,
            known if kind::KNOWN.contains(&known) => MAX_CONTROL_FRAME_BYTES,
            _unknown => return Ok(State::Skip { left: length }),
        };
        if length > limit {
            return Err(FrameFault::TooLong {
                kind,
                declared: length,
                limit,
            });
        }
        Ok(State::Pass { left: length })
    }
}

fn at_most(have: usize, left: u64) -> usize {
    usize::try_from(left).map_or(have, |left| left.min(have))
}

/// Type, length, and the bytes that both took.
fn frame_header(input: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, first) = varint(input)?;
    let (length, second) = varint(&input[first..])?;
    Some((kind, length, first + second))
}

/// A variable-length integer (RFC 9000, section 16) and its size.
fn varint(input: &[u8]) -> Option<(u64, usize)> {
    let first = *input.first()?;
    let size = 1usize << (first >> 6);
    let bytes = input.get(..size)?;
    let value = bytes[1..]
        .iter()
        .fold(u64::from(first & 0x3f), |value, byte| {
            value << 8 | u64::from(*byte)
        });
    Some((value, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put_varint(out: &mut Vec<u8>, value: u64) {
        match value {
            0..=0x3f => out.push(value as u8),
            0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
            0x4000..=0x3fff_ffff => {
                out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes())
            }
            _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
        }
    }

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, kind);
        put_varint(&mut out, payload.len() as u64);
        out.extend_from_slice(payload);
        out
    }

    /// Feeds `wire` in pieces of `piece` bytes; returns the chunks.
    fn run(gate: &mut FrameGate, wire: &[u8], piece: usize) -> Result<Vec<Bytes>, FrameFault> {
        let mut input = BytesMut::new();
        let mut chunks = Vec::new();
        for part in wire.chunks(piece) {
            input.extend_from_slice(part);
            while let Step::Chunk(chunk) = gate.next(&mut input)? {
                chunks.push(chunk);
            }
        }
        gate.end(&input).map(|()| chunks)
    }

    #[test]
    fn unknown_and_empty_frames_vanish() {
        let wire = [
            frame(1, b"head"),
            frame(0x21, &[7; 500]),
            frame(0, b""),
            frame(0, b"body"),
        ]
        .concat();
        let chunks = run(&mut FrameGate::request(100), &wire, 3).unwrap();
        assert_eq!(
            chunks.concat(),
            [frame(1, b"head"), frame(0, b"body")].concat()
        );
    }

    #[test]
    fn a_headers_frame_over_its_limit_is_refused_before_its_payload() {
        let mut wire = vec![1];
        put_varint(&mut wire, 1 << 40);
        let fault = run(&mut FrameGate::request(100), &wire, 64).unwrap_err();
        assert_eq!(
            fault,
            FrameFault::TooLong {
                kind: 1,
                declared: 1 << 40,
                limit: 100
            }
        );
    }

    #[test]
    fn an_end_inside_a_frame_is_noticed() {
        for wire in [
            &frame(1, b"head")[..4],
            &frame(0, b"body")[..1],
            &frame(0x21, b"grease")[..5],
        ] {
            assert_eq!(
                run(&mut FrameGate::request(100), wire, 64),
                Err(FrameFault::Truncated)
            );
        }
    }

    #[test]
    fn streams_of_other_types_pass_untouched() {
        let wire = [vec![2], vec![0xff; 300]].concat();
        assert_eq!(
            run(&mut FrameGate::unidirectional(), &wire, 7)
                .unwrap()
                .concat(),
            wire
        );
    }

    proptest! {
        #[test]
        fn chunks_never_cross_a_frame_and_nothing_is_lost(
            payloads in prop::collection::vec((0u64..2, prop::collection::vec(any::<u8>(), 1..200)), 1..8),
            piece in 1usize..64,
        ) {
            let frames: Vec<Vec<u8>> = payloads.iter().map(|(kind, payload)| frame(*kind, payload)).collect();
            let wire = frames.concat();
            let chunks = run(&mut FrameGate::request(1000), &wire, piece).unwrap();
            prop_assert_eq!(chunks.concat(), wire);
            let mut ends: Vec<usize> = Vec::new();
            for frame in &frames {
                ends.push(ends.last().unwrap_or(&0) + frame.len());
            }
            let mut at = 0;
            for chunk in chunks {
                at += chunk.len();
                prop_assert!(!ends.iter().any(|end| at - chunk.len() < *end && *end < at));
            }
        }

        #[test]
        fn random_bytes_never_panic(wire in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..64) {
            let _ = run(&mut FrameGate::request(64), &wire, piece);
            let _ = run(&mut FrameGate::unidirectional(), &wire, piece);
        }
    }
}
