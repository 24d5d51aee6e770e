//! `VFIO_DEVICE_FEATURE`: its checks, low power, migration of mtty.

use crate::suite::fixture::Fixture;
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Fact, FactResult, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const MTTY: &[Capability] = &[Capability::Has(Device::Mtty)];
const OLD_KERNEL: &[Capability] = &[Capability::Has(Device::Mtty), Capability::Release("6.13")];

const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

const MIGRATION: u32 = 1;
const STATE: u32 = 2;
const LOW_POWER: u32 = 3;
const LOW_POWER_WITH_WAKEUP: u32 = 4;
const LOW_POWER_EXIT: u32 = 5;
const LOGGING_START: u32 = 6;
const LOGGING_STOP: u32 = 7;
const LOGGING_REPORT: u32 = 8;
const DATA_SIZE: u32 = 9;
const PRECOPY_INFO_V2: u32 = 12;

const STOP: u32 = 1;
const RUNNING: u32 = 2;
const STOP_COPY: u32 = 3;
const RESUMING: u32 = 4;
const PRE_COPY: u32 = 6;
const PRE_COPY_P2P: u32 = 7;

/// `VFIO_MIG_GET_PRECOPY_INFO`.
const GET_PRECOPY_INFO: u32 = 0x3b79;

fn feature(flags: u32) -> Fields {
    sized().u32(flags)
}

fn on(d: Fd, fields: Fields) -> Call {
    fields.on(d, nr::VFIO_DEVICE_FEATURE)
}

fn go(d: Fd, state: u32) -> Call {
    on(d, feature(STATE | SET).u32(state).u32(0))
}

fn begin(b: &mut Fixture<'_>, device: Device) -> FactResult<(Pid, Fd)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let (d, _) = b.bind(p, device, iommufd)?;
    if device == Device::Mtty {
        b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0))?;
    }
    Ok((p, d))
}

/// Sets a migration state. Returns the file that this creates, or -1.
fn goes(b: &mut Fixture<'_>, p: Pid, d: Fd, state: u32) -> FactResult<Fd> {
    let outcome = b.ioctl(p, &go(d, state))?;
    Ok(Fd(i32::from_ne_bytes(outcome.bytes[12..16].try_into().expect("four bytes"))))
}

/// Checks the migration state.
fn is_in(b: &mut Fixture<'_>, p: Pid, d: Fd, state: u32) -> FactResult {
    let outcome = b.ioctl(p, &on(d, feature(STATE | GET).u32(0).u32(0)))?;
    b.same("the state", &outcome.bytes[8..12], &state.to_ne_bytes()[..])?;
    b.same("no file", &outcome.bytes[12..16], &[0xff; 4][..])
}

/// Returns a request for DMA logging of ranges.
fn logging(page: u64, ranges: &[[u64; 2]]) -> Fields {
    let count = u32::try_from(ranges.len()).expect("a few");
    let bytes: Vec<u8> = ranges.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect();
    feature(LOGGING_START | SET).u64(page).u32(count).u32(0).pointer(&bytes)
}

pub(super) const ROWS: &[Fact] = &[
    row("feature/checked", "sizes and flags are checked before the feature number", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        b.all_refused(
            p,
            &[
                (value(d, nr::VFIO_DEVICE_FEATURE, 0), Errno::EFAULT),
                (
                    feature(LOW_POWER | PROBE).with_size(7).plain(d, nr::VFIO_DEVICE_FEATURE),
                    Errno::EINVAL,
                ),
                (on(d, feature(LOW_POWER | PROBE | 1 << 19)), Errno::EINVAL),
                (on(d, feature(LOW_POWER | GET | SET)), Errno::EINVAL),
                (on(d, feature(LOW_POWER)), Errno::EINVAL),
                (on(d, feature(LOW_POWER | GET)), Errno::EINVAL),
                (on(d, feature(LOW_POWER_WITH_WAKEUP | SET)), Errno::EINVAL),
                (on(d, feature(0xffff | PROBE)), Errno::ENOTTY),
                (on(d, feature(PRECOPY_INFO_V2 | PROBE | SET)), Errno::EINVAL),
            ],
        )?;
        // VF token, migration, logging, bus master, dma-buf: the driver has no operation, the
        // hardware no support, or the kernel no CONFIG_PCI_P2PDMA.
        for unknown in [0, 1, 2, 6, 7, 8, 9, 10, 11] {
            b.refuses(p, &on(d, feature(unknown | PROBE | GET)), Errno::ENOTTY)?;
        }
        for known in [LOW_POWER, LOW_POWER_WITH_WAKEUP, LOW_POWER_EXIT] {
            b.ok(p, &on(d, feature(known | PROBE | SET)))?;
            b.ok(p, &on(d, feature(known | PROBE)))?;
            b.refuses(p, &on(d, feature(known | PROBE | GET)), Errno::EINVAL)?;
        }
        Ok(())
    }),
    row(
        "feature/low-power",
        "LOW_POWER_ENTRY fails with EINVAL for a device in low power",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            let until = |fd: Fd| on(d, feature(LOW_POWER_WITH_WAKEUP | SET).fd(fd).u32(0));
            b.ok(p, &on(d, feature(LOW_POWER_EXIT | SET)))?;
            b.ok(p, &on(d, feature(LOW_POWER | SET)))?;
            b.all_refused(
                p,
                &[
                    (on(d, feature(LOW_POWER | SET)), Errno::EINVAL),
                    (until(Fd(-1)), Errno::EINVAL),
                    (until(Fd(99)), Errno::EBADF),
                    (until(d), Errno::EINVAL),
                    (until(event), Errno::EINVAL),
                    (
                        feature(LOW_POWER_WITH_WAKEUP | SET)
                            .with_size(16)
                            .plain(d, nr::VFIO_DEVICE_FEATURE),
                        Errno::EFAULT,
                    ),
                ],
            )?;
            b.ok(p, &on(d, feature(LOW_POWER_EXIT | SET)))?;
            b.ok(p, &on(d, feature(LOW_POWER | SET))).map(drop)
        },
    ),
    row(
        "feature/wakeup",
        "the next call wakes the device, which signals its eventfd",
        &[Capability::Simulated("a host's device enters low power some time later")],
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            let until = on(d, feature(LOW_POWER_WITH_WAKEUP | SET).fd(event).u32(0));
            b.ok(p, &until)?;
            b.refuses(p, &Call::File(FileCall::ReadEvent { fd: event }), Errno::EAGAIN)?;
            b.ok(p, &Call::Device(DeviceCall::Info { device: d }))?;
            b.ok(p, &Call::File(FileCall::ReadEvent { fd: event }))?;
            b.ok(p, &until)?;
            b.ok(p, &Call::File(FileCall::Close { fd: d })).map(drop)
        },
    ),
    row("feature/migration", "mtty supports stop-copy, pre-copy and peer to peer", MTTY, |b| {
        let (p, d) = begin(b, Device::Mtty)?;
        let outcome = b.ioctl(p, &on(d, feature(MIGRATION | GET).u64(0)))?;
        b.same("flags", &outcome.bytes[8..16], &7u64.to_ne_bytes()[..])?;
        b.ok(p, &on(d, feature(DATA_SIZE | GET).u64(0)))?;
        for known in [MIGRATION, STATE, DATA_SIZE] {
            b.ok(p, &on(d, feature(known | PROBE | GET)))?;
        }
        b.all_refused(
            p,
            &[
                (on(d, feature(MIGRATION | SET).u64(0)), Errno::EINVAL),
                (on(d, feature(MIGRATION | GET).u32(0)), Errno::EINVAL),
                (on(d, feature(MIGRATION)), Errno::EINVAL),
                (on(d, feature(LOW_POWER | PROBE)), Errno::ENOTTY),
                (
                    feature(MIGRATION | GET).with_size(16).plain(d, nr::VFIO_DEVICE_FEATURE),
                    Errno::EFAULT,
                ),
                (
                    feature(STATE | GET).with_size(16).plain(d, nr::VFIO_DEVICE_FEATURE),
                    Errno::EFAULT,
                ),
            ],
        )
    }),
    row(
        "feature/states",
        "states are reached step by step; three of them come with a file",
        MTTY,
        |b| {
            let (p, d) = begin(b, Device::Mtty)?;
            is_in(b, p, d, RUNNING)?;
            let none = Fd(-1);
            for (state, has_file) in [
                (STOP, false),
                (STOP_COPY, true),
                (STOP, false),
                (RUNNING, false),
                (PRE_COPY, true),
                (PRE_COPY_P2P, false),
                (PRE_COPY, false),
                (STOP_COPY, false),
                (RUNNING, false),
                (PRE_COPY_P2P, true),
                (RUNNING, false),
                (STOP_COPY, true),
            ] {
                let fd = goes(b, p, d, state)?;
                b.same("a file comes", &(fd != none), &has_file)?;
                is_in(b, p, d, state)?;
            }
            for (state, errno) in
                [(PRE_COPY, Errno::EINVAL), (0, Errno::EINVAL), (8, Errno::EINVAL)]
            {
                b.refuses(p, &go(d, state), errno)?;
                is_in(b, p, d, STOP_COPY)?;
            }
            goes(b, p, d, RESUMING)?;
            b.refuses(p, &go(d, RUNNING), Errno::EINVAL)?;
            is_in(b, p, d, RESUMING)?;
            b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0))?;
            is_in(b, p, d, RUNNING)
        },
    ),
    row("feature/state-kept", "a close keeps the migration state", MTTY, |b| {
        let (p, d) = begin(b, Device::Mtty)?;
        goes(b, p, d, STOP)?;
        b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Mtty, iommufd)?;
        is_in(b, p, d, STOP)?;
        b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0)).map(drop)
    }),
    row(
        "feature/precopy-info",
        "precopy information needs a live file and a pre-copy state",
        MTTY,
        |b| {
            let (p, d) = begin(b, Device::Mtty)?;
            let fd = goes(b, p, d, PRE_COPY)?;
            let ask = |fd: Fd| sized().u32(5).u64(9).u64(9).on(fd, GET_PRECOPY_INFO);
            let outcome = b.ioctl(p, &ask(fd))?;
            b.same("the flags of version 1", &outcome.bytes[4..8], &5u32.to_ne_bytes()[..])?;
            b.same(
                "initial and dirty bytes",
                &outcome.bytes[8..24],
                &[24, 0].map(u64::to_ne_bytes).concat()[..],
            )?;
            b.ok(p, &on(d, feature(PRECOPY_INFO_V2 | SET)))?;
            let outcome = b.ioctl(p, &ask(fd))?;
            b.same("no flags", &outcome.bytes[4..8], &[0; 4][..])?;
            b.all_refused(
                p,
                &[
                    (value(fd, GET_PRECOPY_INFO + 1, 0), Errno::ENOTTY),
                    (value(fd, GET_PRECOPY_INFO, 0), Errno::EFAULT),
                    (
                        sized().u32(0).u64(0).u64(0).with_size(23).plain(fd, GET_PRECOPY_INFO),
                        Errno::EINVAL,
                    ),
                    (FileCall::read_at(fd, 0, 8), Errno::ESPIPE),
                ],
            )?;
            goes(b, p, d, RUNNING)?;
            b.refuses(p, &ask(fd), Errno::EINVAL)?;
            goes(b, p, d, PRE_COPY)?;
            b.refuses(p, &ask(fd), Errno::ENODEV)?;
            goes(b, p, d, RESUMING).and_then(|fd| b.refuses(p, &ask(fd), Errno::ENOTTY))?;
            b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0)).map(drop)
        },
    ),
    row(
        "feature/precopy-info-old",
        "6.13 does not know version 2 of the precopy information",
        OLD_KERNEL,
        |b| {
            let (p, d) = begin(b, Device::Mtty)?;
            b.refuses(p, &on(d, feature(PRECOPY_INFO_V2 | PROBE)), Errno::ENOTTY)
        },
    ),
    row(
        "feature/state-untold",
        "a migration state that cannot be reported is still entered",
        MTTY,
        |b| {
            let (p, d) = begin(b, Device::Mtty)?;
            let silent = |state| feature(STATE | SET).u32(state).u32(0).read_only();
            b.refuses(p, &on(d, silent(STOP)), Errno::EFAULT)?;
            is_in(b, p, d, STOP)?;
            b.refuses(p, &on(d, silent(STOP_COPY)), Errno::EFAULT)?;
            is_in(b, p, d, STOP_COPY)?;
            b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0)).map(drop)
        },
    ),
    row("feature/logging", "DMA logging of mtty checks ranges and logs no page", MTTY, |b| {
        let (p, d) = begin(b, Device::Mtty)?;
        let report = |page, iova, length| {
            on(d, feature(LOGGING_REPORT | GET).u64(iova).u64(length).u64(page).pointer(&[0; 8]))
        };
        let many = vec![[0, 0]; 257];
        let page = 4096;
        let table = [
            (on(d, logging(page, &[])), Errno::EINVAL),
            (on(d, logging(page, &many)), Errno::E2BIG),
            (on(d, logging(page, &[[1, page]])), Errno::EINVAL),
            (on(d, logging(page, &[[0, 1]])), Errno::EINVAL),
            (on(d, logging(page, &[[0u64.wrapping_sub(page), page]])), Errno::EOVERFLOW),
            (on(d, logging(page, &[[0, 2 * page], [page, page]])), Errno::EINVAL),
            (on(d, feature(LOGGING_START | SET).u64(page).u32(1).u32(0).u64(0)), Errno::EFAULT),
            (on(d, feature(LOGGING_START | SET).u64(page)), Errno::EINVAL),
            (on(d, feature(LOGGING_START | GET)), Errno::EINVAL),
            (on(d, feature(LOGGING_STOP | GET)), Errno::EINVAL),
            (report(2048, 0, page), Errno::EINVAL),
            (report(page + 1, 0, page), Errno::EINVAL),
            (report(page, u64::MAX, 2), Errno::EOVERFLOW),
        ];
        b.all_refused(p, &table)?;
        for known in [LOGGING_START | SET, LOGGING_STOP | SET, LOGGING_REPORT | GET] {
            b.ok(p, &on(d, feature(known | PROBE)))?;
        }
        b.ok(p, &on(d, logging(page, &[[0, page], [2 * page, page]])))?;
        b.ok(p, &report(page, 0, page))?;
        b.ok(p, &on(d, feature(LOGGING_STOP | SET))).map(drop)
    }),
];
