//! Memfds, mappings, device registers (`mm/shmem`, `mm/memfd`, `mm/vma`).

use crate::common::{BAD, BASE, NEW, OLD, Rig};
use handoff_model::abi::call::{Call, FileCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Va};
use handoff_model::abi::view::PageRun;
use handoff_sim_kernel::{COMMAND_OFFSET, Placement};

const HUGE: u64 = 1 << 63;

fn truncate(fd: Fd, length_bytes: u64) -> Call {
    Call::Memory(MemoryCall::Truncate { fd, length_bytes })
}

fn punch(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    MemoryCall::punch_hole(fd, offset_bytes, length_bytes)
}

fn write(fd: Fd, offset_bytes: u64, length: usize) -> Call {
    FileCall::write_at(fd, offset_bytes, vec![1; length])
}

fn read(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    FileCall::read_at(fd, offset_bytes, length_bytes)
}

fn mmap(fd: Option<Fd>, offset_bytes: u64, length_bytes: u64) -> Call {
    MemoryCall::mmap(fd, offset_bytes, length_bytes)
}

#[test]
fn refusals() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let sealed = rig.memfd(OLD, 1);
    rig.ok(OLD, Call::Memory(MemoryCall::SealSize { fd: sealed }));
    let short = rig.memfd(OLD, 0);
    rig.ok(OLD, truncate(short, 100));
    rig.ok(OLD, Call::Memory(MemoryCall::SealSize { fd: short }));
    let unbound = rig.open(OLD, crate::common::NIC);
    let image = rig.machine.image(OLD, 1);
    let (memfd, device, iommufd, socket) =
        (set_up.memfd, set_up.device, set_up.iommufd, rig.old_end);
    let rows = [
        (truncate(BAD, HUGE), Errno::EINVAL),
        (truncate(BAD, 0), Errno::EBADF),
        (truncate(image, 0), Errno::EBADF),
        (truncate(socket, 0), Errno::EINVAL),
        (truncate(sealed, 0), Errno::EPERM),
        (truncate(sealed, 2 * PAGE_BYTES), Errno::EPERM),
        (Call::Memory(MemoryCall::SealSize { fd: BAD }), Errno::EBADF),
        (Call::Memory(MemoryCall::SealSize { fd: iommufd }), Errno::EINVAL),
        (punch(BAD, 0, 1), Errno::EBADF),
        (punch(memfd, 0, 0), Errno::EINVAL),
        (punch(memfd, HUGE, 1), Errno::EINVAL),
        (punch(socket, 0, 1), Errno::ENODEV),
        (punch(memfd, HUGE - 1, HUGE - 1), Errno::EFBIG),
        (write(BAD, HUGE, 1), Errno::EINVAL),
        (write(BAD, 0, 1), Errno::EBADF),
        (write(memfd, HUGE - 1, 1), Errno::EINVAL),
        (write(socket, 0, 1), Errno::ESPIPE),
        (write(iommufd, 0, 1), Errno::EINVAL),
        (write(sealed, PAGE_BYTES, 1), Errno::EPERM),
        (write(short, 50, 51), Errno::EPERM),
        (write(unbound, COMMAND_OFFSET, 2), Errno::EINVAL),
        (write(device, (7 << 40) + 254, 3), Errno::EFAULT),
        (write(device, 1 << 20, 4), Errno::EINVAL),
        (write(device, 9 << 40, 1), Errno::EINVAL),
        (read(BAD, HUGE, 1), Errno::EINVAL),
        (read(BAD, 0, 1), Errno::EBADF),
        (read(image, 0, 1), Errno::EBADF),
        (read(socket, 0, 1), Errno::ESPIPE),
        (read(iommufd, 0, 1), Errno::EINVAL),
        (read(unbound, COMMAND_OFFSET, 2), Errno::EINVAL),
        (read(device, (7 << 40) + 256, 1), Errno::EFAULT),
        (read(device, 1 << 40, 1), Errno::EINVAL),
        (mmap(Some(BAD), 1, 0), Errno::EINVAL),
        (mmap(Some(BAD), 0, 0), Errno::EBADF),
        (mmap(Some(image), 0, 1), Errno::EBADF),
        (mmap(Some(memfd), 0, 0), Errno::EINVAL),
        (mmap(Some(memfd), 0, HUGE), Errno::ENOMEM),
        (mmap(Some(memfd), u64::MAX - 0xfff, PAGE_BYTES), Errno::EOVERFLOW),
        (mmap(Some(socket), 0, 1), Errno::ENODEV),
        (mmap(Some(device), 7 << 40, 1), Errno::EINVAL),
        (mmap(Some(device), 0, (1 << 20) + 1), Errno::EINVAL),
        (mmap(Some(unbound), 0, 1), Errno::EINVAL),
        (Call::Memory(MemoryCall::Munmap { va: Va(1), length_bytes: PAGE_BYTES }), Errno::EINVAL),
        (Call::Memory(MemoryCall::Munmap { va: Va(0), length_bytes: 0 }), Errno::EINVAL),
        (Call::Memory(MemoryCall::Munmap { va: Va(HUGE), length_bytes: 1 }), Errno::EINVAL),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

#[track_caller]
fn check_read(rig: &mut Rig, fd: Fd, offset_bytes: u64, expected: &[u8]) {
    let length_bytes = expected.len() as u64;
    assert_eq!(rig.ok(OLD, read(fd, offset_bytes, length_bytes)), Reply::Bytes(expected.to_vec()));
}

#[test]
fn files_keep_written_bytes_up_to_their_length() {
    let mut rig = Rig::default();
    let fd = rig.memfd(OLD, 0);
    assert_eq!(rig.ok(OLD, write(fd, 4095, 2)), Reply::Length(2));
    check_read(&mut rig, fd, 4094, &[0, 1, 1]);
    assert_eq!(rig.ok(OLD, read(fd, 4096, 100)), Reply::Bytes(vec![1]));
    assert_eq!(rig.ok(OLD, read(fd, 9999, 100)), Reply::Bytes(vec![]));
    assert_eq!(rig.ok(OLD, write(fd, 0, 0)), Reply::Length(0));
    rig.ok(OLD, truncate(fd, 4096));
    rig.ok(OLD, truncate(fd, 8192));
    check_read(&mut rig, fd, 4094, &[0, 1, 0]);
}

#[test]
fn truncating_and_punching_zero_the_affected_bytes() {
    let mut rig = Rig::default();
    let fd = rig.memfd(OLD, 3);
    rig.ok(OLD, write(fd, 0, 3 * 4096));
    rig.ok(OLD, punch(fd, 10, 20));
    check_read(&mut rig, fd, 9, &[1, 0]);
    check_read(&mut rig, fd, 29, &[0, 1]);
    rig.ok(OLD, punch(fd, 4090, 4096 + 12));
    check_read(&mut rig, fd, 4089, &[1, 0, 0]);
    check_read(&mut rig, fd, 2 * 4096 + 5, &[0, 1]);
    rig.ok(OLD, truncate(fd, 2 * 4096 + 7));
    rig.ok(OLD, truncate(fd, 3 * 4096));
    check_read(&mut rig, fd, 2 * 4096 + 6, &[1, 0]);
}

#[test]
fn a_file_that_may_not_grow_takes_whole_pages_within_it() {
    let mut rig = Rig::default();
    let fd = rig.memfd(OLD, 1);
    rig.ok(OLD, Call::Memory(MemoryCall::SealSize { fd }));
    rig.ok(OLD, Call::Memory(MemoryCall::SealSize { fd }));
    rig.ok(OLD, truncate(fd, PAGE_BYTES));
    assert_eq!(rig.ok(OLD, write(fd, 0, 5000)), Reply::Length(4096));
}

#[test]
fn mappings_take_the_lowest_gap_and_may_be_split() {
    let mut rig = Rig::default();
    let fd = rig.memfd(OLD, 8);
    let [a, b] = [rig.mmap(OLD, Some(fd), 4), rig.mmap(OLD, None, 1)];
    assert_eq!(b.0, a.0 + 4 * PAGE_BYTES);
    rig.ok(
        OLD,
        Call::Memory(MemoryCall::Munmap { va: Va(a.0 + PAGE_BYTES), length_bytes: PAGE_BYTES }),
    );
    rig.machine.boot_guest(OLD);
    let ram = rig.machine.view().processes[&OLD].guest.clone().expect("a guest").ram;
    let shown: Vec<_> = ram.iter().map(|run| (run.first.index, run.pages)).collect();
    assert_eq!(shown, [(0, 1), (2, 2), (0, 1)]);
    assert_eq!(rig.mmap(OLD, None, 1), Va(a.0 + PAGE_BYTES));
}

#[test]
fn recorded_addresses_are_reused_if_free() {
    let mut rig = Rig::default();
    let at = |va| Placement { va: Some(Va(va)), ..Placement::default() };
    let call = mmap(None, 0, PAGE_BYTES);
    assert_eq!(rig.machine.call_placed(OLD, &call, &at(0x5000)), Ok(Reply::Va(Va(0x5000))));
    let elsewhere = rig.machine.call_placed(OLD, &call, &at(0x5000));
    assert_ne!(elsewhere, Ok(Reply::Va(Va(0x5000))));
}

fn ram(rig: &Rig) -> Vec<PageRun> {
    rig.machine.view().processes[&OLD].guest.clone().expect("a guest").ram
}

/// H6: a device keeps its pinned pages; a process sees the current pages of the file.
#[test]
fn punching_and_truncating_separate_the_device_from_the_process() {
    let changes: [fn(Fd) -> Vec<Call>; 2] = [
        |fd| vec![punch(fd, PAGE_BYTES, PAGE_BYTES)],
        |fd| vec![truncate(fd, PAGE_BYTES), truncate(fd, 2 * PAGE_BYTES)],
    ];
    for change in changes {
        let mut rig = Rig::default();
        let set_up = rig.set_up(2);
        rig.mmap(OLD, Some(set_up.memfd), 2);
        rig.machine.boot_guest(OLD);
        let reach = |rig: &Rig| rig.machine.view().devices["edu"].reach.clone().expect("seen");
        let before = reach(&rig);
        assert_eq!(before.iter().map(|reach| reach.memory).collect::<Vec<_>>(), ram(&rig));

        for call in change(set_up.memfd) {
            rig.ok(OLD, call);
        }
        assert_eq!(reach(&rig), before);
        let generations: Vec<_> = ram(&rig).iter().map(|run| run.first.generation).collect();
        assert_eq!(generations, [0, 1]);
        rig.change_process(OLD, set_up.iommufd);

        rig.ok(OLD, crate::common::unmap(set_up.iommufd, set_up.ioas, BASE, 2));
        rig.ok(OLD, crate::common::map_file(set_up.iommufd, set_up.ioas, set_up.memfd, BASE, 2));
        let repaired: Vec<_> = reach(&rig).iter().map(|reach| reach.memory).collect();
        assert_eq!(repaired, ram(&rig));
    }
}

#[test]
fn bus_mastering_is_a_bit_of_the_command_register() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let fd = set_up.device;
    let seen = |rig: &Rig| rig.machine.view().devices["edu"].bus_master;
    assert_eq!(seen(&rig), Some(true));
    assert_eq!(rig.ok(OLD, read(fd, COMMAND_OFFSET, 2)), Reply::Bytes(vec![0x07, 0x01]));
    let off = FileCall::write_at(fd, COMMAND_OFFSET, vec![0x03]);
    rig.ok(OLD, off);
    assert_eq!(seen(&rig), Some(false));
    assert_eq!(rig.ok(OLD, read(fd, COMMAND_OFFSET + 1, 1)), Reply::Bytes(vec![0x01]));
}

#[test]
fn memory_lives_while_something_refers_to_it() {
    let mut rig = Rig::default();
    let before = rig.machine.clone();
    let fd = rig.memfd(OLD, 1);
    let va = rig.mmap(OLD, Some(fd), 1);
    rig.ok(OLD, Call::File(FileCall::Close { fd }));
    assert_ne!(rig.machine, before, "the mapping keeps it");
    rig.ok(OLD, Call::Memory(MemoryCall::Munmap { va, length_bytes: 1 }));
    assert_eq!(rig.machine, before);
    rig.machine.kill(NEW);
}
