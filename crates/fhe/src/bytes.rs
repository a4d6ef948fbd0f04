//! Reading and writing fixed little-endian fields. A read past the end is [`FheError::Truncated`], never a panic.

use crate::error::{FheError, Thing};

pub(crate) struct Reader<'a> {
    thing: Thing,
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(thing: Thing, all: &'a [u8]) -> Self {
        Self { thing, all, at: 0 }
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], FheError> {
        let end = self.at.saturating_add(len);
        let part = self.all.get(self.at..end).ok_or(FheError::Truncated {
            thing: self.thing,
            need: end,
            got: self.all.len(),
        })?;
        self.at = end;
        Ok(part)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FheError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub fn u8(&mut self) -> Result<u8, FheError> {
        Ok(self.array::<1>()?[0])
    }
    pub fn u16(&mut self) -> Result<u16, FheError> {
        self.array().map(u16::from_le_bytes)
    }
    pub fn u32(&mut self) -> Result<u32, FheError> {
        self.array().map(u32::from_le_bytes)
    }
    pub fn u128(&mut self) -> Result<u128, FheError> {
        self.array().map(u128::from_le_bytes)
    }

    pub fn u64s(&mut self, count: usize) -> Result<Vec<u64>, FheError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|c| u64::from_le_bytes(*c))
            .collect())
    }
    pub fn u32s(&mut self, count: usize) -> Result<Vec<u32>, FheError> {
        let bytes = self.take(count.saturating_mul(4))?;
        Ok(bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|c| u32::from_le_bytes(*c))
            .collect())
    }

    /// Magic, then the format's version.
    pub fn header(&mut self, magic: &[u8; 4], supported: u16) -> Result<(), FheError> {
        if &self.array::<4>()? != magic {
            return Err(FheError::NotThisFormat(self.thing));
        }
        match self.u16()? {
            got if got == supported => Ok(()),
            got => Err(FheError::Version {
                thing: self.thing,
                got,
                supported,
            }),
        }
    }

    /// The whole must be `len` bytes: says so before anything large is read.
    pub fn expect_total(&self, len: usize) -> Result<(), FheError> {
        let got = self.all.len();
        let thing = self.thing;
        match got.cmp(&len) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(FheError::Truncated {
                thing,
                need: len,
                got,
            }),
            std::cmp::Ordering::Greater => Err(FheError::Oversize {
                thing,
                limit: len,
                got,
            }),
        }
    }
}

pub(crate) fn push_u64s(out: &mut Vec<u8>, values: &[u64]) {
    out.reserve(values.len() * 8);
    values
        .iter()
        .for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
}

pub(crate) fn push_u32s(out: &mut Vec<u8>, values: &[u32]) {
    out.reserve(values.len() * 4);
    values
        .iter()
        .for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
}

/// Appends the low `bits` (1..=64) of each value, least significant first, and pads to a byte.
pub(crate) fn pack_bits(out: &mut Vec<u8>, values: &[u64], bits: u32) {
    let mask = u64::MAX >> (64 - bits);
    let (mut held, mut held_bits) = (0u128, 0u32);
    for value in values {
        held |= u128::from(value & mask) << held_bits;
        held_bits += bits;
        while held_bits >= 8 {
            out.push(held as u8);
            held >>= 8;
            held_bits -= 8;
        }
    }
    if held_bits > 0 {
        out.push(held as u8);
    }
}

/// The inverse of [`pack_bits`]; `bytes` must hold exactly [`packed_len`] bytes.
pub(crate) fn unpack_bits(bytes: &[u8], count: usize, bits: u32) -> Vec<u64> {
    let mask = u64::MAX >> (64 - bits);
    let mut out = Vec::with_capacity(count);
    let (mut held, mut held_bits) = (0u128, 0u32);
    let mut rest = bytes.iter();
    for _ in 0..count {
        while held_bits < bits {
            held |= u128::from(rest.next().copied().unwrap_or(0)) << held_bits;
            held_bits += 8;
        }
        out.push(held as u64 & mask);
        held >>= bits;
        held_bits -= bits;
    }
    out
}

pub(crate) fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_bits_round_trip(bits in 1u32..=64, values in proptest::collection::vec(any::<u64>(), 0..50)) {
            let values: Vec<u64> = values.iter().map(|v| v & (u64::MAX >> (64 - bits))).collect();
            let mut bytes = Vec::new();
            pack_bits(&mut bytes, &values, bits);
            prop_assert_eq!(bytes.len(), packed_len(values.len(), bits));
            prop_assert_eq!(unpack_bits(&bytes, values.len(), bits), values);
        }
    }
}
