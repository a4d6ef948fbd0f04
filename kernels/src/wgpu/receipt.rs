//! Whether all work of a call was done. Metal ends work that takes too long, and ignores what comes after it for a while; the library
//! takes both for done. So every workgroup is counted on the device, and the host compares: see receipt.wgsl.

use std::cell::Cell;

use wgpu::{Buffer, BufferDescriptor, BufferUsages, Device, Queue};

use crate::device::DeviceError;

pub struct Receipt {
    pub buffer: Buffer,
    /// What the device's count will be.
    expected: Cell<u32>,
}

impl Receipt {
    pub fn new(device: &Device) -> Self {
        let buffer = device.create_buffer(&BufferDescriptor {
            label: Some("receipt"),
            size: 4,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Self {
            buffer,
            expected: Cell::new(0),
        }
    }

    /// Each count begins somewhere else, far from the one before: that it was set is seen too, and with it that what was written
    /// beside it came.
    pub fn begin(&self, queue: &Queue) {
        let first = self.expected.get().wrapping_add(0x9e37_79b9);
        queue.write_buffer(&self.buffer, 0, &first.to_le_bytes());
        self.expected.set(first);
    }

    pub fn expect(&self, groups: [usize; 3]) {
        let groups = groups.iter().product::<usize>() as u32;
        self.expected.set(self.expected.get().wrapping_add(groups));
    }

    pub fn check(&self, counted: u32) -> Result<(), DeviceError> {
        match counted == self.expected.get() {
            true => Ok(()),
            false => Err(DeviceError::Driver(
                "it ended the work before it was done".to_owned(),
            )),
        }
    }
}
