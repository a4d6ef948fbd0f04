//! How values lie in a guest's memory, and how they are passed as core values: the canonical ABI of the component model, for the
//! types that the contract uses. (Component Model, CanonicalABI.md: "Alignment", "Element Size", "Loading", "Storing", "Flattening".)

use wasmtime::component::Resource;

use super::guest::{Reader, Writer, trap};

/// The room that a type takes in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) size: usize,
    pub(super) align: usize,
}

impl Place {
    pub(super) const fn of(bytes: usize) -> Self {
        Self {
            size: bytes,
            align: bytes,
        }
    }

    /// Fields one after the other, each at its alignment.
    pub(super) const fn record(fields: &[Place]) -> Self {
        let (mut size, mut align, mut next) = (0, 1, 0);
        while next < fields.len() {
            size = up(size, fields[next].align) + fields[next].size;
            if fields[next].align > align {
                align = fields[next].align;
            }
            next += 1;
        }
        Self {
            size: up(size, align),
            align,
        }
    }

    /// One byte says which case it is; the largest payload follows at its alignment.
    pub(super) const fn variant(cases: &[Place]) -> Self {
        let payload = Self::payload(cases);
        let (mut size, mut next) = (0, 0);
        while next < cases.len() {
            if cases[next].size > size {
                size = cases[next].size;
            }
            next += 1;
        }
        let align = if payload > 1 { payload } else { 1 };
        Self {
            size: up(payload + size, align),
            align,
        }
    }

    /// Where a variant's payload begins.
    pub(super) const fn payload(cases: &[Place]) -> usize {
        let (mut align, mut next) = (1, 0);
        while next < cases.len() {
            if cases[next].align > align {
                align = cases[next].align;
            }
            next += 1;
        }
        align
    }
}

pub(super) const fn up(at: usize, align: usize) -> usize {
    at.next_multiple_of(align)
}

/// The bytes of a value within those of another.
pub(super) fn part(from: &[u8], at: usize, place: Place) -> wasmtime::Result<&[u8]> {
    from.get(at..at + place.size).ok_or_else(cut_short)
}

/// The same, to be written.
pub(super) fn part_mut(to: &mut [u8], at: usize, place: Place) -> wasmtime::Result<&mut [u8]> {
    to.get_mut(at..at + place.size).ok_or_else(cut_short)
}

/// Cannot be: who loads or saves a value has all of its bytes.
#[cold]
fn cut_short() -> wasmtime::Error {
    trap("a value that is cut short")
}

/// A type that the host reads from a guest's memory. A value is held against the memory once, whole, and then read from its bytes.
pub(super) trait Load: Sized {
    const PLACE: Place;
    /// `from` is as long as `PLACE` says.
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self>;

    fn load_list(guest: &mut Reader<'_>, at: u32, length: u32) -> wasmtime::Result<Vec<Self>> {
        guest.list(at, length)
    }
}

/// A type that the host writes to a guest's memory. A value is put together here, and goes over in one step.
pub(super) trait Save: Sized {
    const PLACE: Place;
    /// `to` is as long as `PLACE` says, and all zeros.
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()>;

    /// Where the list is, and how long.
    fn save_list(list: Vec<Self>, guest: &mut Writer<'_>) -> wasmtime::Result<(u32, u32)> {
        guest.list(list)
    }
}

/// A type that is passed as one `i32`, and the other way.
pub(super) trait Narrow: Sized {
    fn narrow(value: u32) -> wasmtime::Result<Self>;
}

/// What a function returns without memory.
pub(super) trait Flat {
    type Core;
    fn flat(self) -> Self::Core;
}

fn array<const N: usize>(from: &[u8]) -> wasmtime::Result<[u8; N]> {
    from.first_chunk().copied().ok_or_else(cut_short)
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Load for $type {
            const PLACE: Place = Place::of(size_of::<$type>());
            fn load(_: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
                Ok(Self::from_le_bytes(array(from)?))
            }
        }

        impl Save for $type {
            const PLACE: Place = Place::of(size_of::<$type>());
            fn save(self, _: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
                *to.first_chunk_mut().ok_or_else(cut_short)? = self.to_le_bytes();
                Ok(())
            }
        }
    )*};
}
number!(u16, u32, u64, i64, f64);

impl Load for u8 {
    const PLACE: Place = Place::of(1);
    fn load(_: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        case(from)
    }

    fn load_list(guest: &mut Reader<'_>, at: u32, length: u32) -> wasmtime::Result<Vec<Self>> {
        guest.bytes(at, length)
    }
}

impl Save for u8 {
    const PLACE: Place = Place::of(1);
    fn save(self, _: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        set_case(to, self)
    }

    fn save_list(list: Vec<Self>, guest: &mut Writer<'_>) -> wasmtime::Result<(u32, u32)> {
        guest.bytes(&list)
    }
}

macro_rules! flat {
    ($($type:ty => $core:ty),*) => {$(
        impl Flat for $type {
            type Core = $core;
            fn flat(self) -> $core {
                self.into()
            }
        }
    )*};
}
flat!(() => (), u32 => u32, u16 => u32, u64 => u64, bool => u32);

impl Narrow for u32 {
    fn narrow(value: u32) -> wasmtime::Result<Self> {
        Ok(value)
    }
}

impl Narrow for bool {
    fn narrow(value: u32) -> wasmtime::Result<Self> {
        Ok(value != 0)
    }
}

impl Narrow for u16 {
    fn narrow(value: u32) -> wasmtime::Result<Self> {
        // What is above is ignored: CanonicalABI.md, "lift_flat_unsigned".
        Ok(value as u16)
    }
}

impl Load for bool {
    const PLACE: Place = Place::of(1);
    fn load(_: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        Ok(case(from)? != 0)
    }
}

impl Save for bool {
    const PLACE: Place = Place::of(1);
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        u8::from(self).save(guest, to)
    }
}

/// A pointer and a length.
const SPAN: Place = Place { size: 8, align: 4 };

fn span(from: &[u8]) -> wasmtime::Result<(u32, u32)> {
    let [a, b, c, d, e, f, g, h] = array(from)?;
    Ok((
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ))
}

fn save_span(to: &mut [u8], (pointer, length): (u32, u32)) -> wasmtime::Result<()> {
    let both = u64::from(pointer) | u64::from(length) << 32;
    *to.first_chunk_mut().ok_or_else(cut_short)? = both.to_le_bytes();
    Ok(())
}

impl Load for String {
    const PLACE: Place = SPAN;
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        let (pointer, length) = span(from)?;
        guest.text(pointer, length)
    }
}

impl Save for String {
    const PLACE: Place = SPAN;
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        self.as_str().save(guest, to)
    }
}

impl Save for &str {
    const PLACE: Place = SPAN;
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        let text = guest.bytes(self.as_bytes())?;
        save_span(to, text)
    }
}

impl<T: Load> Load for Vec<T> {
    const PLACE: Place = SPAN;
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        let (pointer, length) = span(from)?;
        T::load_list(guest, pointer, length)
    }
}

impl<T: Save> Save for Vec<T> {
    const PLACE: Place = SPAN;
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        let list = T::save_list(self, guest)?;
        save_span(to, list)
    }
}

impl<A: Load, B: Load> Load for (A, B) {
    const PLACE: Place = Place::record(&[A::PLACE, B::PLACE]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        let second = up(A::PLACE.size, B::PLACE.align);
        Ok((
            A::load(guest, part(from, 0, A::PLACE)?)?,
            B::load(guest, part(from, second, B::PLACE)?)?,
        ))
    }
}

impl<A: Save, B: Save> Save for (A, B) {
    const PLACE: Place = Place::record(&[A::PLACE, B::PLACE]);
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        let second = up(A::PLACE.size, B::PLACE.align);
        self.0.save(guest, part_mut(to, 0, A::PLACE)?)?;
        self.1.save(guest, part_mut(to, second, B::PLACE)?)
    }
}

/// Which case of a variant it is.
pub(super) fn case(from: &[u8]) -> wasmtime::Result<u8> {
    from.first().copied().ok_or_else(cut_short)
}

pub(super) fn set_case(to: &mut [u8], case: u8) -> wasmtime::Result<()> {
    *to.first_mut().ok_or_else(cut_short)? = case;
    Ok(())
}

const NOTHING: Place = Place { size: 0, align: 1 };

impl<T: Load> Load for Option<T> {
    const PLACE: Place = Place::variant(&[NOTHING, T::PLACE]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        match case(from)? {
            0 => Ok(None),
            1 => {
                let payload = part(from, Place::payload(&[T::PLACE]), T::PLACE)?;
                T::load(guest, payload).map(Some)
            }
            _ => Err(unknown_case()),
        }
    }
}

impl<T: Save> Save for Option<T> {
    const PLACE: Place = Place::variant(&[NOTHING, T::PLACE]);
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        let Some(value) = self else {
            return set_case(to, 0);
        };
        set_case(to, 1)?;
        value.save(guest, part_mut(to, Place::payload(&[T::PLACE]), T::PLACE)?)
    }
}

impl Load for () {
    const PLACE: Place = NOTHING;
    fn load(_: &mut Reader<'_>, _: &[u8]) -> wasmtime::Result<Self> {
        Ok(())
    }
}

impl Save for () {
    const PLACE: Place = NOTHING;
    fn save(self, _: &mut Writer<'_>, _: &mut [u8]) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl<T: Load, E: Load> Load for Result<T, E> {
    const PLACE: Place = Place::variant(&[T::PLACE, E::PLACE]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        let payload = Place::payload(&[T::PLACE, E::PLACE]);
        match case(from)? {
            0 => T::load(guest, part(from, payload, T::PLACE)?).map(Ok),
            1 => E::load(guest, part(from, payload, E::PLACE)?).map(Err),
            _ => Err(unknown_case()),
        }
    }
}

impl<T: Save, E: Save> Save for Result<T, E> {
    const PLACE: Place = Place::variant(&[T::PLACE, E::PLACE]);
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        let payload = Place::payload(&[T::PLACE, E::PLACE]);
        match self {
            Ok(value) => {
                set_case(to, 0)?;
                value.save(guest, part_mut(to, payload, T::PLACE)?)
            }
            Err(error) => {
                set_case(to, 1)?;
                error.save(guest, part_mut(to, payload, E::PLACE)?)
            }
        }
    }
}

/// The number that a guest knows a resource by: the host's own and one, as zero is none's. The host's table knows the types, and
/// which are there.
fn number<T>(resource: &Resource<T>) -> u32 {
    resource.rep().wrapping_add(1)
}

/// The resource of a number; whether there is one shows when it is used.
pub(super) fn lent<T: 'static>(number: u32) -> Resource<T> {
    Resource::new_borrow(number.wrapping_sub(1))
}

/// The same, to be dropped.
pub(super) fn given<T: 'static>(number: u32) -> Resource<T> {
    Resource::new_own(number.wrapping_sub(1))
}

impl<T: 'static> Load for Resource<T> {
    const PLACE: Place = Place::of(4);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        u32::load(guest, from).map(lent)
    }
}

impl<T: 'static> Save for Resource<T> {
    const PLACE: Place = Place::of(4);
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        number(&self).save(guest, to)
    }
}

pub(super) fn unknown_case() -> wasmtime::Error {
    trap("a case that the type does not have")
}
