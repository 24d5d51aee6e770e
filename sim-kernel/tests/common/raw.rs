//! Ioctls as bytes, built field by field.

use super::Rig;
use handoff_model::abi::argument::{Argument, Ioctl, IoctlOutcome, Pointee};
use handoff_model::abi::call::{Call, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid};
use handoff_model::abi::request as nr;

/// An ioctl argument under construction.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    request: u32,
    bytes: Vec<u8>,
    pointees: Vec<Pointee>,
}

impl Raw {
    /// Returns a structure of `size` zero bytes, except for its size in the first field.
    pub(crate) fn new(request: u32, size: usize) -> Self {
        let raw = Self { request, bytes: vec![0; size], pointees: Vec::new() };
        raw.u32(0, u32::try_from(size).expect("a size"))
    }

    /// Returns an operation of the kernel's iommufd selftests.
    pub(crate) fn test(op: u32, id: u32) -> Self {
        Self::new(nr::IOMMU_TEST_CMD, 72).u32(4, op).u32(8, id)
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn u16(self, at: usize, value: u16) -> Self {
        self.put(at, &value.to_ne_bytes())
    }

    pub(crate) fn u32(self, at: usize, value: u32) -> Self {
        self.put(at, &value.to_ne_bytes())
    }

    pub(crate) fn u64(self, at: usize, value: u64) -> Self {
        self.put(at, &value.to_ne_bytes())
    }

    /// Adds memory that the structure points to.
    pub(crate) fn pointee(mut self, at: usize, bytes: Vec<u8>) -> Self {
        self.pointees.push(Pointee { at, bytes });
        self
    }

    pub(crate) fn call(self, fd: Fd) -> Call {
        let argument = Argument::of(self.bytes, self.pointees);
        Call::Ioctl { fd, ioctl: Ioctl { request: self.request, argument } }
    }
}

/// Returns a 32-bit word of an ioctl's output structure.
pub(crate) fn word(outcome: &IoctlOutcome, at: usize) -> u32 {
    u32::from_ne_bytes(*outcome.bytes[at..].first_chunk().expect("a word"))
}

/// Returns a 64-bit word of an ioctl's output structure.
pub(crate) fn long(outcome: &IoctlOutcome, at: usize) -> u64 {
    u64::from_ne_bytes(*outcome.bytes[at..].first_chunk().expect("a word"))
}

impl Rig {
    /// Makes an ioctl that may succeed or fail, and audits the invariants afterwards.
    #[track_caller]
    pub(crate) fn raw(&mut self, pid: Pid, fd: Fd, raw: Raw) -> IoctlOutcome {
        let answer = self.machine.call(pid, &raw.call(fd));
        self.machine.audit().expect("invariants");
        match answer {
            Ok(Reply::Ioctl(outcome)) => outcome,
            other => panic!("no outcome: {other:?}"),
        }
    }

    /// Makes an ioctl that must succeed.
    #[track_caller]
    pub(crate) fn raw_ok(&mut self, pid: Pid, fd: Fd, raw: Raw) -> IoctlOutcome {
        let outcome = self.raw(pid, fd, raw.clone());
        assert_eq!(outcome.errno(), None, "{raw:?}");
        outcome
    }

    /// Makes an ioctl that must fail without changing the machine.
    #[track_caller]
    pub(crate) fn raw_refuses(&self, pid: Pid, fd: Fd, raw: Raw, errno: Errno) {
        let mut rig = self.clone();
        let outcome = rig.raw(pid, fd, raw.clone());
        assert_eq!(outcome.errno(), Some(errno), "{raw:?}");
        assert_eq!(rig.machine, self.machine, "{raw:?} changed something");
    }

    /// Attaches a mock device to a page table. Returns the ids of the stdev, the HWPT and the
    /// device.
    #[track_caller]
    pub(crate) fn mock_domain(
        &mut self,
        pid: Pid,
        iommufd: Fd,
        page_table: ObjectId,
    ) -> [ObjectId; 3] {
        let outcome = self.raw_ok(pid, iommufd, Raw::test(2, page_table.0));
        [16, 20, 24].map(|at| ObjectId(word(&outcome, at)))
    }

    /// Makes an `IOMMU_TEST_OP_MD_CHECK_MAP`.
    #[track_caller]
    pub(crate) fn check_map(
        &mut self,
        pid: Pid,
        iommufd: Fd,
        hwpt: ObjectId,
        row: [u64; 3],
    ) -> IoctlOutcome {
        let raw = Raw::test(3, hwpt.0).u64(16, row[0]).u64(24, row[1]).u64(32, row[2]);
        self.raw(pid, iommufd, raw)
    }
}
