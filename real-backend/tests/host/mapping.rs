//! Tests of the memory register: mapped memory can be read, written and found; other memory is
//! inaccessible.

use crate::calls::{DONE, check, memfd, no};
use crate::common::host_for;
use handoff_model::abi::call::{Call, CallResult, FileCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Va};
use handoff_model::abi::kernel::Kernel;
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;

fn handle() -> (Host, Memory) {
    let memory = Memory::default();
    (Host::new(Vec::new(), memory.clone(), Box::new(NoGuest)), memory)
}

#[track_caller]
fn va(answer: CallResult) -> Va {
    match answer {
        Ok(Reply::Va(va)) => va,
        other => panic!("{other:?}"),
    }
}

fn mmap(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    MemoryCall::mmap(Some(fd), offset_bytes, length_bytes)
}

#[test]
fn two_mappings_of_a_memfd_are_the_same_bytes() {
    let (mut host, memory) = handle();
    let fd = memfd(&mut host, 3 * 4096);
    let whole = va(host.call(&mmap(fd, 0, 3 * 4096)));
    let middle = va(host.call(&mmap(fd, 4096, 4096)));
    memory.write(Va(whole.0 + 4096), b"ram").expect("mapped");
    let mut found = [0; 3];
    memory.read(middle, &mut found).expect("mapped");
    assert_eq!(&found, b"ram");
    check(&mut host, &[(FileCall::read_at(fd, 4096, 3), Ok(Reply::Bytes(b"ram".to_vec())))]);
}

#[test]
fn a_file_range_is_found_by_its_inode() {
    let (mut host, memory) = handle();
    let fd = memfd(&mut host, 4 * 4096);
    let Ok(Reply::Stat { inode, .. }) = host.call(&Call::File(FileCall::Stat { fd })) else {
        panic!("a file")
    };
    let start = va(host.call(&mmap(fd, 4096, 2 * 4096)));
    let rows = [
        (inode, 4096, 2 * 4096, Some(start)),
        (inode, 4096 + 7, 1, Some(Va(start.0 + 7))),
        (inode, 4095, 1, None),
        (inode, 4096, 2 * 4096 + 1, None),
        (inode, 4096, u64::MAX, None),
        (inode + 1, 4096, 1, None),
    ];
    for (inode, offset_bytes, length_bytes, expected) in rows {
        assert_eq!(memory.find(inode, offset_bytes, length_bytes), expected, "{offset_bytes}");
    }
}

#[test]
fn a_hole_leaves_both_sides_mapped() {
    let (mut host, memory) = handle();
    let fd = memfd(&mut host, 4 * 4096);
    let Ok(Reply::Stat { inode, .. }) = host.call(&Call::File(FileCall::Stat { fd })) else {
        panic!("a file")
    };
    let start = va(host.call(&mmap(fd, 0, 4 * 4096)));
    let unmap = |page: u64, pages: u64| {
        Call::Memory(MemoryCall::Munmap {
            va: Va(start.0 + page * 4096),
            length_bytes: pages * 4096,
        })
    };
    check(&mut host, &[(unmap(1, 2), DONE), (unmap(1, 1), no(Errno::EINVAL))]);
    assert_eq!(memory.find(inode, 3 * 4096, 4096), Some(Va(start.0 + 3 * 4096)));
    assert_eq!(memory.find(inode, 4096, 1), None);
    let gone = Va(start.0 + 4096);
    assert_eq!(memory.read(gone, &mut [0]), Err(Errno::EFAULT));
    assert_eq!(memory.write(Va(gone.0 - 1), &[0, 0]), Err(Errno::EFAULT), "half of it is unmapped");
    check(&mut host, &[(unmap(0, 1), DONE), (unmap(3, 1), DONE)]);
    assert_eq!(memory.mappings(), []);
}

#[test]
fn memory_that_was_not_mapped_here_is_not_unmapped() {
    let (mut host, memory) = handle();
    let fd = memfd(&mut host, 4096);
    let start = va(host.call(&mmap(fd, 0, 100)));
    let own = Box::new([1_u8; 4096 * 4]);
    let heap = (own.as_ptr() as u64).next_multiple_of(4096);
    let unmap = |va, length_bytes| Call::Memory(MemoryCall::Munmap { va: Va(va), length_bytes });
    check(
        &mut host,
        &[
            (unmap(heap, 4096), no(Errno::EINVAL)),
            (unmap(start.0, 0), no(Errno::EINVAL)),
            (unmap(start.0 + 1, 4096), no(Errno::EINVAL)),
            (unmap(start.0, 4097), no(Errno::EINVAL)),
            (unmap(u64::MAX - 4095, 4096), no(Errno::EINVAL)),
            (unmap(start.0, u64::MAX), no(Errno::EINVAL)),
            (unmap(start.0, 1), DONE),
        ],
    );
    assert_eq!(memory.mappings(), [], "pages are unmapped whole");
    assert!(own.iter().all(|byte| *byte == 1));
}

#[test]
fn mmap_refuses_as_linux_does() {
    let mut host = host_for(&[]);
    let fd = memfd(&mut host, 4096);
    let anonymous = |length_bytes| MemoryCall::mmap(None, 0, length_bytes);
    check(
        &mut host,
        &[
            (mmap(fd, 0, 0), no(Errno::EINVAL)),
            (mmap(fd, 1, 4096), no(Errno::EINVAL)),
            (mmap(fd, 0, u64::MAX), no(Errno::ENOMEM)),
            (anonymous(0), no(Errno::EINVAL)),
            (anonymous(1 << 60), no(Errno::ENOMEM)),
        ],
    );
    let memory = va(host.call(&anonymous(4096)));
    check(
        &mut host,
        &[(Call::Memory(MemoryCall::Munmap { va: memory, length_bytes: 4096 }), DONE)],
    );
}
