//! Kernel accesses, as in the kernel's selftests (`iommufd/{access,selftest/access}`).

use crate::common::raw::{Raw, word};
use crate::common::{BAD, NEW, OLD, Rig, map, map_file, unmap};
use handoff_model::abi::call::{Call, FileCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Uid;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Va};
use handoff_model::abi::view::Account;

const BASE: u64 = 0x100_0000;
const EBADE: Errno = Errno::Other(52);
const PINS: u32 = 1;
const WRITE: u32 = 1;
const SLOWLY: u32 = 4;
const BY_AREA: u32 = 1 << 16;

/// A context with an IOAS that maps four pages of memory, and a pinning access.
struct Setup {
    rig: Rig,
    iommufd: Fd,
    ioas: ObjectId,
    va: Va,
    access: Fd,
}

fn create(ioas: ObjectId, flags: u32) -> Raw {
    Raw::test(5, ioas.0).u32(20, flags)
}

fn pages(access: Fd, flags: u32, iova: u64, length: u64, va: u64) -> Raw {
    let raw = Raw::test(7, access.0.cast_unsigned()).u32(16, flags);
    raw.u64(24, iova).u64(32, length).u64(40, va)
}

fn rw(access: Fd, flags: u32, iova: u64, length: u64, buffer: Vec<u8>) -> Raw {
    let raw = Raw::test(8, access.0.cast_unsigned()).u64(16, iova).u64(24, length);
    raw.u32(40, flags).pointee(32, buffer)
}

fn give_back(access: Fd, item: u32) -> Raw {
    Raw::test(6, access.0.cast_unsigned()).u32(16, item)
}

fn refs(va: Va, pages: u64, expected: u32) -> Raw {
    Raw::test(4, 0).u64(16, pages * PAGE_BYTES).u64(24, va.0).u32(32, expected)
}

impl Setup {
    fn new() -> Self {
        let mut rig = Rig::default();
        let iommufd = rig.iommufd(OLD);
        let ioas = rig.ioas(OLD, iommufd);
        let va = rig.mmap(OLD, None, 4);
        rig.ok(OLD, map(iommufd, ioas, va, Iova(BASE), 4));
        let outcome = rig.raw_ok(OLD, iommufd, create(ioas, PINS));
        let access = Fd(word(&outcome, 16).cast_signed());
        Self { rig, iommufd, ioas, va, access }
    }

    #[track_caller]
    fn ok(&mut self, raw: Raw) -> u32 {
        word(&self.rig.raw_ok(OLD, self.iommufd, raw), 20)
    }

    #[track_caller]
    fn refuses(&self, rows: &[(Raw, Errno)]) {
        for (raw, errno) in rows {
            self.rig.raw_refuses(OLD, self.iommufd, raw.clone(), *errno);
        }
    }

    fn pinned(&self) -> u64 {
        self.rig.machine.view().page_sets.iter().map(|set| set.pinned_pages).sum()
    }

    fn charged(&self) -> i64 {
        self.rig.locked(Account::User(Uid(1000)))
    }
}

#[test]
fn an_access_lives_until_the_last_close() {
    let Setup { mut rig, iommufd, ioas, access, .. } = Setup::new();
    rig.refuses(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY);
    rig.refuses(
        OLD,
        Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(2) }),
        Errno::EBUSY,
    );
    let other = rig.fd(OLD, Call::File(FileCall::Dup { fd: access }));
    rig.ok(OLD, Call::File(FileCall::Close { fd: access }));
    rig.refuses(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY);
    rig.ok(OLD, Call::File(FileCall::Close { fd: other }));
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }));
}

#[test]
fn a_context_lives_as_long_as_an_access_to_it() {
    let mut s = Setup::new();
    s.ok(pages(s.access, WRITE, BASE, PAGE_BYTES, 0));
    s.rig.ok(OLD, Call::File(FileCall::Close { fd: s.iommufd }));
    assert_eq!(s.pinned(), 1);
    let other = s.rig.iommufd(OLD);
    s.rig.raw_ok(OLD, other, rw(s.access, 0, BASE, 4, vec![0; 4]));
    s.rig.ok(OLD, Call::File(FileCall::Close { fd: s.access }));
    assert_eq!((s.pinned(), s.charged()), (0, 0));
}

#[test]
fn creating_an_access_validates_its_arguments() {
    let Setup { mut rig, iommufd, ioas, va, access } = Setup::new();
    let rows = [(create(ioas, 2), Errno::EOPNOTSUPP), (create(ObjectId(77), 0), Errno::ENOENT)];
    for (raw, errno) in rows {
        rig.raw_refuses(OLD, iommufd, raw, errno);
    }
    rig.ok(OLD, Call::File(FileCall::Close { fd: access }));
    let misaligned = IommufdCall::map(
        iommufd,
        ioas,
        va,
        Iova(0x10),
        1,
        handoff_model::abi::call::Rights::ReadWrite,
    );
    rig.ok(OLD, misaligned);
    rig.raw_refuses(OLD, iommufd, create(ioas, PINS), Errno::EADDRINUSE);
    rig.raw_ok(OLD, iommufd, create(ioas, 0));
    while rig.machine.call(OLD, &Call::File(FileCall::Dup { fd: iommufd })).is_ok() {}
    rig.raw_refuses(OLD, iommufd, create(ioas, 0), Errno::ENOMEM);
}

#[test]
fn accesses_and_domains_share_pins() {
    let mut s = Setup::new();
    let first = s.ok(pages(s.access, WRITE, BASE, 2 * PAGE_BYTES, s.va.0));
    let second = s.ok(pages(s.access, WRITE, BASE + PAGE_BYTES, 2 * PAGE_BYTES, 0));
    assert_eq!((first, second, s.pinned(), s.charged()), (0, 1, 3, 3));
    s.ok(refs(s.va, 3, 1));
    let [stdev, ..] = s.rig.mock_domain(OLD, s.iommufd, s.ioas);
    assert_eq!((s.pinned(), s.charged()), (4, 4));
    s.ok(refs(s.va, 4, 1));
    s.ok(give_back(s.access, first));
    assert_eq!(s.pinned(), 4);
    s.rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd: s.iommufd, id: stdev }));
    assert_eq!((s.pinned(), s.charged()), (2, 2), "what the access has stays");
    s.ok(refs(s.va, 1, 0));
    s.refuses(&[(refs(s.va, 2, 0), Errno::EIO), (give_back(s.access, first), Errno::ENOENT)]);
    s.ok(give_back(s.access, second));
    assert_eq!((s.pinned(), s.charged()), (0, 0));
}

#[test]
fn unmap_revokes_the_pins_of_an_access() {
    let mut s = Setup::new();
    let (iommufd, ioas, va) = (s.iommufd, s.ioas, s.va);
    s.rig.ok(OLD, map(iommufd, ioas, va, Iova(BASE + 4 * PAGE_BYTES), 4));
    let across = s.ok(pages(s.access, WRITE, BASE + 3 * PAGE_BYTES, 2 * PAGE_BYTES, 0));
    let within = s.ok(pages(s.access, WRITE, BASE, PAGE_BYTES, 0));
    assert_eq!(s.pinned(), 3);
    let behind = unmap(iommufd, ioas, Iova(BASE + 4 * PAGE_BYTES), 4);
    s.rig.ok(OLD, behind);
    assert_eq!(s.pinned(), 1);
    s.refuses(&[(give_back(s.access, across), Errno::ENOENT)]);
    s.ok(give_back(s.access, within));
}

#[test]
fn pinning_validates_its_arguments() {
    let mut s = Setup::new();
    let (iommufd, ioas, va) = (s.iommufd, s.ioas, s.va);
    let top = u64::MAX - 0xfff;
    let outcome = s.rig.raw_ok(OLD, iommufd, create(ioas, 0));
    let unpinning = Fd(word(&outcome, 16).cast_signed());
    let read_only =
        Raw::new(handoff_model::abi::request::IOMMU_IOAS_MAP, 40).u32(4, 1 | 4).u32(8, ioas.0);
    s.rig.raw_ok(OLD, iommufd, read_only.u64(16, va.0).u64(24, PAGE_BYTES).u64(32, 0x8000));
    let nowhere = map(iommufd, ioas, Va(0x1000), Iova(0x20000), 1);
    s.rig.ok(OLD, nowhere);
    let access = s.access;
    s.refuses(&[
        (pages(access, WRITE, BASE, (16 << 20) + 1, 0), Errno::ENOMEM),
        (pages(access, 2, BASE, PAGE_BYTES, 0), Errno::EOPNOTSUPP),
        (pages(BAD, WRITE, BASE, PAGE_BYTES, 0), Errno::EBADFD),
        (pages(iommufd, WRITE, BASE, PAGE_BYTES, 0), Errno::EBADFD),
        (pages(unpinning, WRITE, BASE, PAGE_BYTES, 0), Errno::EOPNOTSUPP),
        (pages(access, WRITE, BASE, 0, 0), Errno::EINVAL),
        (pages(access, WRITE, top, 0x2000, 0), Errno::EOVERFLOW),
        (pages(access, WRITE, BASE + 1, 1, 0), Errno::EINVAL),
        (pages(access, WRITE, 0, PAGE_BYTES, 0), Errno::ENOENT),
        (pages(access, WRITE, BASE, 5 * PAGE_BYTES, 0), Errno::ENOENT),
        (pages(access, WRITE, 0x8000, PAGE_BYTES, 0), Errno::EPERM),
        (pages(access, WRITE, 0x20000, PAGE_BYTES, 0), Errno::EFAULT),
        (pages(access, WRITE, BASE, PAGE_BYTES, va.0 + PAGE_BYTES), EBADE),
        (pages(access, WRITE, BASE, PAGE_BYTES, 0x1000), Errno::EFAULT),
    ]);
    s.ok(pages(access, 0, 0x8000, PAGE_BYTES, 0));
}

#[test]
fn areas_that_share_a_page_cannot_be_pinned_across() {
    let mut s = Setup::new();
    let half = PAGE_BYTES / 2;
    s.rig.ok(OLD, Call::File(FileCall::Close { fd: s.access }));
    let sub = |va, iova| {
        IommufdCall::map(
            s.iommufd,
            s.ioas,
            Va(va),
            Iova(iova),
            half,
            handoff_model::abi::call::Rights::ReadWrite,
        )
    };
    s.rig.ok(OLD, sub(s.va.0, 0));
    s.rig.ok(OLD, sub(s.va.0 + half, half));
    s.rig.raw_refuses(OLD, s.iommufd, create(s.ioas, PINS), Errno::EADDRINUSE);
}

#[test]
fn memory_is_read_and_written_through_an_access() {
    let mut s = Setup::new();
    let memfd = s.rig.memfd(OLD, 2);
    s.rig.ok(OLD, map_file(s.iommufd, s.ioas, memfd, Iova(BASE + 4 * PAGE_BYTES), 2));
    let edge = BASE + 4 * PAGE_BYTES - 2;
    for flags in [0, SLOWLY] {
        s.ok(rw(s.access, WRITE | flags, edge, 4, vec![1, 2, 3, 4]));
        let outcome = s.rig.raw_ok(OLD, s.iommufd, rw(s.access, flags, edge, 4, vec![0; 4]));
        assert_eq!(outcome.pointees[0].0, [1, 2, 3, 4]);
    }
    let file = s.rig.ok(OLD, FileCall::read_at(memfd, 0, 3));
    assert_eq!(file, handoff_model::abi::call::Reply::Bytes(vec![3, 4, 0]));
    assert_eq!(s.pinned(), 0, "moving bytes leaves nothing pinned");
    let nth = u64::from(u32::MAX - 1) << 32;
    s.ok(rw(s.access, BY_AREA, 1, 1, vec![0]));
    s.refuses(&[
        (rw(s.access, BY_AREA, 7, 1, vec![0]), Errno::ENOENT),
        (rw(s.access, BY_AREA, nth, 1, vec![0]), Errno::ENOENT),
        (rw(s.access, WRITE, BASE, (16 << 20) + 1, vec![]), Errno::ENOMEM),
        (rw(s.access, 2, BASE, 1, vec![0]), Errno::EOPNOTSUPP),
        (rw(BAD, 0, BASE, 1, vec![0]), Errno::EBADFD),
        (rw(s.access, WRITE, BASE, 2, vec![0]), Errno::EFAULT),
        (rw(s.access, 0, BASE, 2, vec![0]), Errno::EFAULT),
        (rw(s.access, 0, BASE, 0, vec![]), Errno::EINVAL),
        (rw(s.access, 0, u64::MAX, 2, vec![0; 2]), Errno::EOVERFLOW),
    ]);
}

#[test]
fn pinned_memory_of_a_dead_owner_is_accessible() {
    let mut s = Setup::new();
    let [access, iommufd] = s.rig.pass(&[s.access, s.iommufd])[..] else { panic!("two") };
    s.ok(pages(s.access, WRITE, BASE, PAGE_BYTES, 0));
    s.ok(rw(s.access, WRITE, BASE, 1, vec![7]));
    s.rig.machine.kill(OLD);
    let read = |at: u64| rw(access, 0, BASE + at, 1, vec![0]);
    let outcome = s.rig.raw_ok(NEW, iommufd, read(0));
    assert_eq!(outcome.pointees[0].0, [7]);
    s.rig.raw_refuses(NEW, iommufd, read(PAGE_BYTES), Errno::EFAULT);
    s.rig.raw_refuses(NEW, iommufd, Raw::test(2, s.ioas.0), Errno::EFAULT);
}

#[test]
fn an_access_changes_its_address_space() {
    let mut s = Setup::new();
    let other = s.rig.ioas(OLD, s.iommufd);
    s.ok(pages(s.access, WRITE, BASE, PAGE_BYTES, 0));
    let replace = |fd: Fd, id: ObjectId| Raw::test(11, fd.0.cast_unsigned()).u32(16, id.0);
    s.refuses(&[
        (replace(s.access, ObjectId(77)), Errno::ENOENT),
        (replace(BAD, other), Errno::EBADFD),
    ]);
    s.ok(replace(s.access, s.ioas));
    assert_eq!(s.pinned(), 1);
    s.ok(replace(s.access, other));
    assert_eq!(s.pinned(), 0);
    s.rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd: s.iommufd, id: s.ioas }));
}

#[test]
fn an_item_id_that_cannot_be_reported_is_used_up() {
    let mut s = Setup::new();
    let mut call = pages(s.access, WRITE, BASE, PAGE_BYTES, 0).call(s.iommufd);
    if let Call::Ioctl { ioctl, .. } = &mut call
        && let handoff_model::abi::argument::Argument::Structure(structure) = &mut ioctl.argument
    {
        structure.read_only = true;
    }
    let answer = s.rig.machine.call(OLD, &call);
    assert!(handoff_model::abi::call::errno_of(&answer) == Some(Errno::EFAULT));
    assert_eq!(s.pinned(), 0);
    assert_eq!(s.ok(pages(s.access, WRITE, BASE, PAGE_BYTES, 0)), 1);
}
