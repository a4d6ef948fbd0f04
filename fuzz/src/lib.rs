//! Sound counters, for bytes to be laid over: chance finds neither the length nor the base64 of a ciphertext.

use std::sync::OnceLock;

use fhe::counters::{Contribution, PublicKey, Schema, Window, WindowRecord};
use fhe::{ClientKey, FheError, ParamSet, TestEntropy};

/// What comes before the first number of a format, and is the same in all that are taken.
const MAGIC_BYTES: usize = 4;

pub struct Sound {
    pub key: PublicKey,
    pub record: WindowRecord,
}

pub fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| make().expect("a contribution can be encrypted"))
}

fn make() -> Result<Sound, FheError> {
    let client = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(1))?;
    let json = br#"{"format":"veilgate-counters/1","contributions":16,"entries":[{"name":"n","kind":"counter"}]}"#;
    let schema = Schema::from_json(json)?;
    let (key, window) = (PublicKey::of(&client)?, Window::at(1_800_000_000, 600)?);
    let counters = Contribution::new(&schema).encrypt(&key, window, &mut TestEntropy(2))?;
    let record = WindowRecord {
        part: "0".repeat(32),
        tenant: "clinic".to_owned(),
        stream: "visits".to_owned(),
        counters,
    };
    Ok(Sound { key, record })
}

/// `whole` with its header, and more if there are so many, replaced by `bytes`.
pub fn laid_over(mut whole: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    let rest = whole.split_at_mut(MAGIC_BYTES).1;
    let len = bytes.len().min(rest.len());
    rest[..len].copy_from_slice(&bytes[..len]);
    whole
}
