//! What can go wrong: at load (`LoadError`: the operator's to mend) and in a call (`Fault`: the guest's, or ours, contained).

use std::fmt;

use crate::pin::Pin;

/// Why a policy was refused at load. The text is meant to be read by the operator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("policy {policy:?}: {reason}")]
    Spec { policy: String, reason: String },
    #[error(
        "policy {policy}: the module is {bytes} bytes, more than {limit}; strip it, or raise `max_module_bytes`"
    )]
    TooLarge {
        policy: String,
        bytes: usize,
        limit: usize,
    },
    #[error(
        "policy {policy}: the module is {found}, and `digest` names {expected}; if the new module is meant, write its digest there"
    )]
    OtherDigest {
        policy: String,
        expected: Pin,
        found: Pin,
    },
    #[error(
        "policy {policy}: the file is not Wasm; `module` names a component, built with a Veilgate SDK for example"
    )]
    NotWasm { policy: String },
    #[error(
        "policy {policy}: this is a core Wasm module, not a component, and not a proxy-wasm module either (it exports no \
         `proxy_abi_version_0_2_1`); build it with a Veilgate SDK or a proxy-wasm SDK, or wrap it with \
         `wasm-tools component new`"
    )]
    NotComponent { policy: String },
    #[error("policy {policy}: the module does not compile: {detail}")]
    Compile { policy: String, detail: String },
    #[error(
        "policy {policy}: the component imports `{interface}`, which was not granted; add \"{grant}\" to the policy's \
         `grants`, or use a component that does not ask for it"
    )]
    NotGranted {
        policy: String,
        interface: String,
        grant: String,
    },
    #[error(
        "policy {policy}: the component imports `{import}`, which this gateway does not offer; {advice}"
    )]
    UnknownImport {
        policy: String,
        import: String,
        advice: &'static str,
    },
    #[error("policy {policy}: the component exports no hook; expected at least one of {expected}")]
    NoHook {
        policy: String,
        expected: &'static str,
    },
    #[error("policy {policy}: `{interface}` is not what the contract says: {detail}")]
    Contract {
        policy: String,
        interface: String,
        detail: String,
    },
    #[error(
        "policy {policy}: a configuration was given, but the component exports no `lifecycle` to take it"
    )]
    NotConfigurable { policy: String },
    #[error("policy {policy}: it refused its configuration: {message}")]
    Configure { policy: String, message: String },
    #[error("policy {policy}: its canary failed: {reason}")]
    Canary { policy: String, reason: String },
    #[error("policy {policy}: {fault} while starting and configuring")]
    Start { policy: String, fault: Fault },
}

/// The host itself could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("the Wasm engine could not be set up: {0}")]
    Engine(String),
    #[error("the deadline thread could not be started: {0}")]
    Ticker(std::io::Error),
}

/// The kind of a fault: the metrics label `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// It used all its fuel: it loops, or does too much.
    Fuel,
    /// It ran past its deadline, with fuel left.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It trapped.
    Trap,
    /// It answered something that the contract forbids.
    Decision,
    /// A host function refused to go on (a limit on what one call may do).
    HostLimit,
    /// No instance could be made.
    Instance,
    /// It waited longer than `max_wait`.
    Wait,
    /// All instances that may wait were in use.
    Busy,
}

impl FaultKind {
    pub const ALL: [FaultKind; 9] = [
        FaultKind::Fuel,
        FaultKind::Deadline,
        FaultKind::Memory,
        FaultKind::Trap,
        FaultKind::Decision,
        FaultKind::HostLimit,
        FaultKind::Instance,
        FaultKind::Wait,
        FaultKind::Busy,
    ];

    pub fn label(self) -> &'static str {
        match self {
            FaultKind::Fuel => "fuel",
            FaultKind::Deadline => "deadline",
            FaultKind::Memory => "memory",
            FaultKind::Trap => "trap",
            FaultKind::Decision => "decision",
            FaultKind::HostLimit => "host_limit",
            FaultKind::Instance => "instance",
            FaultKind::Wait => "wait",
            FaultKind::Busy => "busy",
        }
    }

    /// Whether it says something of the policy, and so counts towards setting it aside: that many clients came at once does not.
    pub(crate) fn is_the_policys(self) -> bool {
        self != FaultKind::Busy
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Fuel => {
                "it used up its fuel (an endless loop, or too much work for one call)"
            }
            FaultKind::Deadline => "it ran past its deadline",
            FaultKind::Memory => "it asked for more memory than it may have",
            FaultKind::Trap => "it trapped",
            FaultKind::Decision => "it answered something that the contract forbids",
            FaultKind::HostLimit => "it went over a limit of the host's functions",
            FaultKind::Instance => "no instance of it could be made",
            FaultKind::Wait => "it waited longer than it may",
            FaultKind::Busy => "all of its instances were in use",
        })
    }
}

/// One call of a guest went wrong. The instance is gone; the gateway goes on.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: FaultKind,
    /// For the log, never for the client.
    pub detail: String,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.detail)
    }
}

/// Raised by a host function to end a call. Found again in the trap by type.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostRefusal(pub(crate) &'static str);
