//! The numbers of the ABI: statuses, maps, buffers, streams, metrics. A number that is none of these is a bad argument.

/// What a host function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    ParseFailure = 4,
    InvalidMemory = 6,
    Empty = 7,
    CasMismatch = 8,
    /// Also for what this host does not offer: the Rust SDK has no number for `unimplemented` (12).
    InternalFailure = 10,
}

/// What a callback answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    Pause,
}

impl Action {
    /// Anything but 0 holds the message back: the C++ SDK has several ways to pause.
    pub(crate) fn from_guest(number: u32) -> Self {
        match number {
            0 => Action::Continue,
            _ => Action::Pause,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapId {
    RequestHeaders,
    ResponseHeaders,
    CallResponseHeaders,
    /// While their callback runs.
    Trailers(Half),
    /// Trailers of a call's answer, and the metadata of gRPC: always empty here.
    Empty,
}

impl MapId {
    pub(crate) fn from_guest(number: u32) -> Option<Self> {
        Some(match number {
            0 => MapId::RequestHeaders,
            2 => MapId::ResponseHeaders,
            1 => MapId::Trailers(Half::Request),
            3 => MapId::Trailers(Half::Response),
            6 => MapId::CallResponseHeaders,
            4 | 5 | 7 => MapId::Empty,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BufferId {
    RequestBody,
    ResponseBody,
    CallResponseBody,
    VmConfiguration,
    PluginConfiguration,
    /// TCP streams, gRPC and foreign calls into the guest: there are none here.
    Absent,
}

impl BufferId {
    pub(crate) fn from_guest(number: u32) -> Option<Self> {
        Some(match number {
            0 => BufferId::RequestBody,
            1 => BufferId::ResponseBody,
            4 => BufferId::CallResponseBody,
            6 => BufferId::VmConfiguration,
            7 => BufferId::PluginConfiguration,
            2 | 3 | 5 | 8 => BufferId::Absent,
            _ => return None,
        })
    }
}

/// Which half of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Request,
    Response,
}

impl Half {
    /// The stream types of TCP are bad arguments: there are no such streams.
    pub(crate) fn from_guest(number: u32) -> Option<Self> {
        match number {
            0 => Some(Half::Request),
            1 => Some(Half::Response),
            _ => None,
        }
    }
}
