//! Generators of `IOMMU_TEST_CMD`: mock devices and kernel accesses.

use super::Calls;
use super::arguments::Caller;
use crate::lockstep::mutate::raw;
use crate::lockstep::state::{MOCK_DOMAIN, MOCK_DOMAIN_FLAGS};
use handoff_model::abi::argument::Pointee;
use handoff_model::abi::call::Call;
use handoff_model::abi::ids::{Fd, ObjectId};
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use proptest::prelude::*;
use proptest::sample::select;

/// `IOMMU_TEST_OP_*`, except for those that `state` recognizes.
const ADD_RESERVED: u32 = 1;
const CHECK_MAP: u32 = 3;
const CHECK_REFS: u32 = 4;
const CREATE_ACCESS: u32 = 5;
const DESTROY_ACCESS_PAGES: u32 = 6;
const ACCESS_PAGES: u32 = 7;
const ACCESS_RW: u32 = 8;
const MOCK_DOMAIN_REPLACE: u32 = 10;
const ACCESS_REPLACE_IOAS: u32 = 11;

/// Returns a call that creates a mock device attached to an IOAS.
pub(in crate::lockstep) fn mock_device(fd: Fd, ioas: ObjectId) -> Call {
    test(fd, MOCK_DOMAIN, ioas.0, &[], vec![])
}

/// Splits a 64-bit value into two words.
fn words(value: u64) -> [u32; 2] {
    [value, value >> 32].map(|part| u32::try_from(part & 0xffff_ffff).expect("half a word"))
}

/// Returns an operation on an object, with the first words of its union.
fn test(fd: Fd, op: u32, id: u32, union: &[u32], pointees: Vec<Pointee>) -> Call {
    const WORDS: usize = 18;
    const UNION: usize = 4;
    let mut all = [0; WORDS];
    all[..UNION].copy_from_slice(&[72, op, id, 0]);
    all[UNION..UNION + union.len()].copy_from_slice(union);
    raw(fd, nr::IOMMU_TEST_CMD, &all, pointees)
}

impl Caller {
    pub(super) fn mock_call(&self) -> Calls {
        if self.has_real {
            return one_of![4 => self.access(), 2 => self.look()].boxed();
        }
        one_of![6 => self.device_of_mock(), 4 => self.access(), 2 => self.look()].boxed()
    }

    fn device_of_mock(&self) -> Calls {
        let reserved = (self.space(), self.iova(), self.length()).prop_map(
            |((fd, ioas), iova, length_bytes)| {
                test(fd, ADD_RESERVED, ioas.0, &[words(iova), words(length_bytes)].concat(), vec![])
            },
        );
        let any = one_of![2 => Self::number(&self.spaces), 1 => Self::number(&self.others)];
        one_of![
            6 => self.space().prop_map(|(fd, ioas)| mock_device(fd, ioas)),
            2 => (self.space(), select(vec![0, 1, 4, 5, 2])).prop_map(|((fd, ioas), flags)| {
                test(fd, MOCK_DOMAIN_FLAGS, ioas.0, &[0, 0, 0, flags], vec![])
            }),
            4 => (self.other(), any).prop_map(|((fd, device), to)| {
                test(fd, MOCK_DOMAIN_REPLACE, device.0, &[to.0], vec![])
            }),
            1 => reserved,
        ]
        .boxed()
    }

    /// Generates operations on accesses, which are named by a descriptor.
    fn access(&self) -> Calls {
        let access = || self.fd(FileKind::Other).prop_map(|fd| fd.0.cast_unsigned());
        let iommufd = || self.iommufd();
        let pages = (iommufd(), access(), 0..2u32, self.iova(), self.length()).prop_map(
            |(fd, access, flags, iova, length_bytes)| {
                let place = [words(iova), words(length_bytes)].concat();
                test(fd, ACCESS_PAGES, access, &[&[flags, 0][..], &place].concat(), vec![])
            },
        );
        let flags = select(vec![0, 1, 4, 5]);
        let length = select(vec![0, 1, 8, 0x800, 0x1000, 0x1801]);
        let copy = (iommufd(), access(), self.iova(), length, flags).prop_map(
            |(fd, access, iova, length_bytes, flags)| {
                let place = [words(iova), words(length_bytes), [0; 2], [flags, 0]].concat();
                let bytes = vec![0; usize::try_from(length_bytes).expect("short")];
                test(fd, ACCESS_RW, access, &place, vec![Pointee { at: 32, bytes }])
            },
        );
        one_of![
            4 => (self.space(), 0..2u32).prop_map(|((fd, ioas), flags)| {
                test(fd, CREATE_ACCESS, ioas.0, &[0, flags], vec![])
            }),
            6 => pages,
            2 => (iommufd(), access(), 0..4u32).prop_map(|(fd, access, pages)| {
                test(fd, DESTROY_ACCESS_PAGES, access, &[pages], vec![])
            }),
            3 => copy,
            2 => (iommufd(), access(), Self::number(&self.spaces)).prop_map(
                |(fd, access, ObjectId(ioas))| {
                    test(fd, ACCESS_REPLACE_IOAS, access, &[ioas], vec![])
                }
            ),
        ]
        .boxed()
    }

    /// Generates checks of the pages that a domain maps, and of the pin counts of pages.
    fn look(&self) -> Calls {
        let map = (self.other(), self.iova(), self.length(), self.va()).prop_map(
            |((fd, hwpt), iova, length_bytes, va)| {
                let place = [words(iova), words(length_bytes), words(va)].concat();
                test(fd, CHECK_MAP, hwpt.0, &place, vec![])
            },
        );
        let refs = (self.iommufd(), self.length(), self.va(), 0..4u32).prop_map(
            |(fd, length_bytes, va, refs)| {
                let place = [words(length_bytes), words(va), [refs, 0]].concat();
                test(fd, CHECK_REFS, 0, &place, vec![])
            },
        );
        one_of![1 => map, 1 => refs].boxed()
    }
}
