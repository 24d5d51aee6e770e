//! A kernel with one bound device file that consists of registers only, for tests of drivers.

use handoff_model::abi::call::{Call, CallResult, DeviceCall, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::kernel::Kernel;
use std::sync::{Arc, Mutex};

/// The offset of config space in the file; BAR 0 is at 0.
pub(super) const CONFIG: u64 = 0x1000;

/// The bytes of the file, and a log of all writes to it; clones share both.
#[derive(Clone)]
pub(super) struct Registers(Arc<Mutex<(Vec<u8>, Vec<Write>)>>);

/// An offset in the file, and the bytes written there.
pub(super) type Write = (u64, Vec<u8>);

impl Registers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new((vec![0; 0x1100], Vec::new()))))
    }

    /// Changes bytes as the device would; not logged.
    pub(super) fn set(&self, offset_bytes: u64, bytes: &[u8]) {
        let at = usize::try_from(offset_bytes).expect("small");
        self.0.lock().expect("no panic").0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Takes the writes since the last call.
    pub(super) fn written(&self) -> Vec<Write> {
        std::mem::take(&mut self.0.lock().expect("no panic").1)
    }
}

impl Kernel for Registers {
    fn call(&mut self, call: &Call) -> CallResult {
        match call {
            Call::Device(DeviceCall::RegionInfo { index, .. }) => {
                let offset_bytes = if *index == 0 { 0 } else { CONFIG };
                Ok(Reply::RegionInfo { offset_bytes, length_bytes: 0x100, flags: 0 })
            }
            Call::File(FileCall::ReadAt { offset_bytes, length_bytes, .. }) => {
                let [at, length] =
                    [*offset_bytes, *length_bytes].map(|n| usize::try_from(n).expect("small"));
                Ok(Reply::Bytes(self.0.lock().expect("no panic").0[at..at + length].to_vec()))
            }
            Call::File(FileCall::WriteAt { offset_bytes, bytes, .. }) => {
                self.set(*offset_bytes, bytes);
                self.0.lock().expect("no panic").1.push((*offset_bytes, bytes.clone()));
                Ok(Reply::Length(bytes.len() as u64))
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}
