//! A module's digest as an operator writes it down, to have that module and no other.

use std::fmt;
use std::str::FromStr;

use edge_types::Digest;
use sha2::Digest as _;

/// `blake3:<hex>` or `sha256:<hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    Blake3(Digest),
    Sha256([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `blake3:` or `sha256:` and 64 lower-case hex digits")]
pub struct PinError;

impl Pin {
    pub fn blake3(module: &[u8]) -> Self {
        Pin::Blake3(Digest::of(module))
    }

    /// The digest of `module` by the same hash.
    pub fn same_hash_of(&self, module: &[u8]) -> Self {
        match self {
            Pin::Blake3(_) => Self::blake3(module),
            Pin::Sha256(_) => Pin::Sha256(sha2::Sha256::digest(module).into()),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Blake3(digest) => write!(f, "blake3:{digest}"),
            // Written as digests are: 64 hex digits.
            Pin::Sha256(bytes) => write!(f, "sha256:{}", Digest(*bytes)),
        }
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let (hash, hex) = text.split_once(':').ok_or(PinError)?;
        let digest: Digest = hex.parse().map_err(|_| PinError)?;
        match hash {
            "blake3" => Ok(Pin::Blake3(digest)),
            "sha256" => Ok(Pin::Sha256(digest.0)),
            _ => Err(PinError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_are_read_written_and_computed() {
        // The well-known digests of nothing.
        for (text, start) in [
            (
                "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
                "blake3",
            ),
            (
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "sha256",
            ),
        ] {
            let pin: Pin = text.parse().unwrap();
            assert_eq!(pin.to_string(), text);
            assert_eq!(pin.same_hash_of(b""), pin, "{start}");
            assert_ne!(pin.same_hash_of(b"x"), pin);
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let hex = "0".repeat(64);
        for bad in [
            String::new(),
            hex.clone(),
            format!("md5:{hex}"),
            format!("blake3:{}", &hex[1..]),
            format!("blake3:{}", "G".repeat(64)),
            format!("BLAKE3:{hex}"),
        ] {
            assert_eq!(bad.parse::<Pin>(), Err(PinError), "{bad}");
        }
    }
}
