//! What of a request depends on the flow in it: nothing that repeats. Bytes that are the same each time one flow is encrypted
//! must be the same for any flow, or they would tell something of it.

use std::path::Path;

use examples::client::Error;
use examples::rows::Table;

use crate::sensor::Sensor;

/// Random bytes agree in so many requests less than once in 10^36.
pub const REQUESTS: usize = 16;

pub struct Seen {
    pub bytes: usize,
    pub constant: usize,
}

pub fn look(sensor: &Sensor, models: &Path) -> Result<Seen, Error> {
    let flows = Table::read(&models.join("flows-test.csv"), sensor.columns())?.rows;
    let first = flows
        .first()
        .ok_or_else(|| Error::new("there are no flows"))?;
    let of_one = encrypted(sensor, std::iter::repeat_n(first, REQUESTS))?;
    let of_many = encrypted(sensor, flows.iter().take(REQUESTS))?;
    let (one, many) = (constant(&of_one), constant(&of_many));
    if one != many {
        return Err(Error::new(
            "requests of one flow have bytes in common that those of other flows have not",
        ));
    }
    Ok(Seen {
        bytes: of_one.first().map_or(0, Vec::len),
        constant: one.len(),
    })
}

fn encrypted<'a>(
    sensor: &Sensor,
    flows: impl Iterator<Item = &'a Vec<f64>>,
) -> Result<Vec<Vec<u8>>, Error> {
    flows
        .map(|flow| sensor.encrypt(flow).map(|pending| pending.bytes))
        .collect()
}

/// The places at which all of them are the same, and what is there.
fn constant(requests: &[Vec<u8>]) -> Vec<(usize, u8)> {
    let Some((first, others)) = requests.split_first() else {
        return Vec::new();
    };
    let same = |&(place, byte): &(usize, u8)| {
        others
            .iter()
            .all(|other| other.get(place) == Some(&byte) && other.len() == first.len())
    };
    first.iter().copied().enumerate().filter(same).collect()
}
