//! Which key is in which of a card's places.

use fhe::KeyId;

pub(super) struct Places {
    places: Vec<Place>,
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Place {
    key: Option<KeyId>,
    last_used: u64,
    /// Memory has been taken for it.
    is_allocated: bool,
}

impl Places {
    pub fn new(count: usize) -> Self {
        Self {
            places: vec![Place::default(); count],
            clock: 0,
        }
    }

    pub fn usable(&self) -> usize {
        self.places.len()
    }

    pub fn holds(&self, key: &KeyId) -> bool {
        self.places.iter().any(|place| place.key == Some(*key))
    }

    /// A place for each key, of which there are no more than places, and whether the key is in it. One that is not there gets the
    /// place that was used least recently, and is in none until it is [`filled`](Self::filled).
    pub fn find(&mut self, keys: &[KeyId]) -> Vec<(usize, bool)> {
        self.clock += 1;
        let there: Vec<Option<usize>> = keys
            .iter()
            .map(|key| self.places.iter().position(|place| place.key == Some(*key)))
            .collect();
        for index in there.iter().flatten() {
            self.places[*index].last_used = self.clock;
        }
        let mut found = Vec::new();
        for index in there {
            let of_key = index.map(|index| (index, true)).or_else(|| {
                // Places of memory that is there already come first.
                let oldest = (0..self.places.len())
                    .filter(|&index| self.places[index].last_used < self.clock)
                    .min_by_key(|&index| {
                        let place = &self.places[index];
                        (place.key.is_some(), !place.is_allocated, place.last_used)
                    })?;
                self.places[oldest].key = None;
                self.places[oldest].last_used = self.clock;
                Some((oldest, false))
            });
            found.extend(of_key);
        }
        found
    }

    pub fn filled(&mut self, place: usize, key: KeyId) {
        self.places[place].key = Some(key);
        self.places[place].is_allocated = true;
    }

    /// There was no memory for a place: it will not be asked for again. `false` if it had memory, or if none would be left.
    pub fn shrink(&mut self, place: usize) -> bool {
        let allocated = self.places.iter().filter(|place| place.is_allocated);
        if allocated.count() == 0 || self.places[place].is_allocated {
            return false;
        }
        // The places without memory are all at the end: they are taken in their order.
        self.places.retain(|place| place.is_allocated);
        true
    }

    /// Nothing is held any more.
    pub fn clear(&mut self) {
        self.places.iter_mut().for_each(|place| place.key = None);
    }
}

#[cfg(test)]
mod tests {
    use edge_types::Digest;

    use super::*;

    fn key(number: u8) -> KeyId {
        KeyId(Digest::of(&[number]))
    }

    /// What a call with these keys uploads, and where.
    fn call(places: &mut Places, keys: &[u8]) -> Vec<(u8, usize)> {
        let ids: Vec<KeyId> = keys.iter().map(|&number| key(number)).collect();
        let found = places.find(&ids);
        assert_eq!(found.len(), keys.len(), "a place for each");
        let mut uploads = Vec::new();
        for (&number, (place, is_there)) in keys.iter().zip(found) {
            if !is_there {
                places.filled(place, key(number));
                uploads.push((number, place));
            }
            assert!(places.holds(&key(number)));
        }
        uploads
    }

    #[test]
    fn the_key_that_was_used_least_recently_goes_and_none_of_the_call_itself() {
        let mut places = Places::new(3);
        assert_eq!(call(&mut places, &[1, 2]), [(1, 0), (2, 1)]);
        assert_eq!(call(&mut places, &[1]), []);
        assert_eq!(call(&mut places, &[3]), [(3, 2)]);
        assert_eq!(call(&mut places, &[4]), [(4, 1)]);
        // 1 is the oldest, and needed: 3 and 4 go.
        assert_eq!(call(&mut places, &[1, 5, 6]), [(5, 2), (6, 1)]);
    }

    #[test]
    fn a_place_that_has_no_memory_is_given_up_and_the_others_stay() {
        let mut places = Places::new(4);
        call(&mut places, &[1, 2]);
        let found = places.find(&[key(3)]);
        assert_eq!(found, [(2, false)]);
        assert!(places.shrink(2));
        assert_eq!(places.usable(), 2);
        assert_eq!(call(&mut places, &[3]), [(3, 0)]);
        assert!(!places.shrink(0), "its memory was there before");
        let mut none = Places::new(2);
        none.find(&[key(1)]);
        assert!(!none.shrink(0), "a card with no place is of no use");
    }

    #[test]
    fn what_was_cleared_is_uploaded_anew() {
        let mut places = Places::new(2);
        call(&mut places, &[1, 2]);
        places.clear();
        assert!(!places.holds(&key(1)));
        assert_eq!(call(&mut places, &[2]).len(), 1);
    }
}
