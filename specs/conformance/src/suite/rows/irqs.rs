//! SET_IRQS: its checks, the actions of each index, and the state after a failure.

use crate::suite::fixture::Fixture;
use crate::suite::structure::sized;
use crate::suite::{Fact, FactResult, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const MTTY: &[Capability] = &[Capability::Has(Device::Mtty)];
const MANY: &[Capability] = &[Capability::Has(Device::Many)];

/// Kinds of data for each vector.
const NONE: u32 = 1;
const BOOL: u32 = 2;
const EVENTFD: u32 = 4;
/// Actions on each vector.
const MASK: u32 = 8;
const UNMASK: u32 = 16;
const TRIGGER: u32 = 32;

const INTX: u32 = 0;
const MSI: u32 = 1;
const MSIX: u32 = 2;
const ERROR: u32 = 3;
const REQUEST: u32 = 4;

const BAD: Fd = Fd(99);

/// Returns a SET_IRQS with this data.
fn set(device: Fd, flags: u32, index: u32, (start, count): (u32, u32), data: &[u8]) -> Call {
    let set = sized().u32(flags).u32(index).u32(start).u32(count).bytes(data);
    set.on(device, nr::VFIO_DEVICE_SET_IRQS)
}

/// Returns a SET_IRQS that makes eventfds the triggers of vectors from `start`.
fn triggers(device: Fd, index: u32, start: u32, fds: &[Fd]) -> Call {
    let data: Vec<u8> = fds.iter().flat_map(|fd| fd.0.to_ne_bytes()).collect();
    let count = u32::try_from(fds.len()).expect("a few");
    set(device, EVENTFD | TRIGGER, index, (start, count), &data)
}

/// Returns an action without data on the first vector.
fn act(device: Fd, action: u32, index: u32) -> Call {
    set(device, NONE | action, index, (0, 1), &[])
}

fn disable(device: Fd, index: u32) -> Call {
    set(device, NONE | TRIGGER, index, (0, 0), &[])
}

/// Returns a process, its bound device, and eventfds.
fn begin<const N: usize>(b: &mut Fixture<'_>, device: Device) -> FactResult<(Pid, Fd, [Fd; N])> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    let (file, _) = b.bind(p, device, iommufd)?;
    b.ok(p, &Call::Device(DeviceCall::Info { device: file }))?;
    let mut events = [BAD; N];
    for event in &mut events {
        *event = b.fd(p, &Call::File(FileCall::Eventfd))?;
    }
    Ok((p, file, events))
}

/// Checks the counts of eventfds.
fn counts(b: &mut Fixture<'_>, p: Pid, expected: &[(Fd, u64)]) -> FactResult {
    for (fd, count) in expected {
        let call = Call::File(FileCall::ReadEvent { fd: *fd });
        if *count == 0 {
            b.refuses(p, &call, Errno::EAGAIN)?;
        } else {
            let seen = b.ok(p, &call)?;
            b.same("the eventfd's count", &seen, &Reply::Count(*count))?;
        }
    }
    Ok(())
}

pub(super) const ROWS: &[Fact] = &[
    row("irqs/checked", "SET_IRQS checks size, flags, index and range first", EDU, |b| {
        let (p, d, []) = begin(b, Device::Edu)?;
        b.all_refused(
            p,
            &[
                (sized().u32(0).plain(d, nr::VFIO_DEVICE_SET_IRQS), Errno::EFAULT),
                (
                    sized()
                        .u32(33)
                        .u32(0)
                        .u32(0)
                        .u32(0)
                        .with_size(19)
                        .plain(d, nr::VFIO_DEVICE_SET_IRQS),
                    Errno::EINVAL,
                ),
                (set(d, NONE | TRIGGER | 64, MSI, (0, 1), &[]), Errno::EINVAL),
                (set(d, NONE | TRIGGER, 5, (0, 1), &[]), Errno::EINVAL),
                (set(d, NONE | TRIGGER, MSI, (u32::MAX, 0), &[]), Errno::EINVAL),
                (set(d, NONE | TRIGGER, MSI, (1, u32::MAX - 1), &[]), Errno::EINVAL),
                (set(d, NONE | TRIGGER, MSI, (1, 0), &[]), Errno::EINVAL),
                (set(d, NONE | TRIGGER, MSI, (0, 2), &[]), Errno::EINVAL),
                (set(d, NONE | TRIGGER, MSIX, (0, 0), &[]), Errno::EINVAL),
                (set(d, NONE | BOOL | TRIGGER, MSI, (0, 1), &[1]), Errno::EINVAL),
                (set(d, TRIGGER, MSI, (0, 1), &[]), Errno::EINVAL),
                (set(d, EVENTFD | TRIGGER, MSI, (0, 1), &[0; 3]), Errno::EINVAL),
                (set(d, BOOL | TRIGGER, MSI, (0, 1), &[]), Errno::EINVAL),
            ],
        )?;
        let cut = sized().u32(EVENTFD | TRIGGER).u32(MSI).u32(0).u32(1).with_size(24);
        b.refuses(p, &cut.plain(d, nr::VFIO_DEVICE_SET_IRQS), Errno::EFAULT)
    }),
    row("irqs/actions", "an action that an index does not support fails with ENOTTY", EDU, |b| {
        let (p, d, [e]) = begin(b, Device::Edu)?;
        b.ok(p, &triggers(d, MSI, 0, &[e]))?;
        b.all_refused(
            p,
            &[
                (act(d, MASK, MSI), Errno::ENOTTY),
                (act(d, UNMASK, MSI), Errno::ENOTTY),
                (act(d, MASK, REQUEST), Errno::ENOTTY),
                (act(d, MASK | TRIGGER, INTX), Errno::ENOTTY),
                (act(d, 0, MSI), Errno::ENOTTY),
            ],
        )
    }),
    row("irqs/one-index", "INTx and MSI exclude each other until disabled", EDU, |b| {
        let (p, d, [e, f]) = begin(b, Device::Edu)?;
        b.all_refused(
            p,
            &[
                (disable(d, MSI), Errno::EINVAL),
                (disable(d, INTX), Errno::EINVAL),
                (act(d, TRIGGER, MSI), Errno::EINVAL),
                (act(d, TRIGGER, INTX), Errno::EINVAL),
                (triggers(d, MSI, 0, &[BAD]), Errno::EBADF),
                (triggers(d, MSI, 0, &[d]), Errno::EINVAL),
                (triggers(d, INTX, 0, &[BAD]), Errno::EBADF),
                (triggers(d, INTX, 0, &[d]), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &triggers(d, MSI, 0, &[e]))?;
        b.refuses(p, &triggers(d, INTX, 0, &[f]), Errno::EINVAL)?;
        b.ok(p, &triggers(d, MSI, 0, &[f]))?;
        b.ok(p, &triggers(d, MSI, 0, &[f]))?;
        b.ok(p, &disable(d, MSI))?;
        b.ok(p, &triggers(d, INTX, 0, &[e]))?;
        b.refuses(p, &triggers(d, MSI, 0, &[f]), Errno::EINVAL)?;
        b.ok(p, &disable(d, INTX)).map(drop)
    }),
    row("irqs/no-vectors", "MSI without a vector fails with ERANGE", EDU, |b| {
        let (p, d, []) = begin(b, Device::Edu)?;
        b.refuses(p, &triggers(d, MSI, 0, &[]), Errno::ERANGE)
    }),
    row("irqs/by-software", "DATA_NONE and a true DATA_BOOL signal the trigger", EDU, |b| {
        let (p, d, [e]) = begin(b, Device::Edu)?;
        for index in [MSI, INTX] {
            b.ok(p, &triggers(d, index, 0, &[e]))?;
            counts(b, p, &[(e, 0)])?;
            b.ok(p, &act(d, TRIGGER, index))?;
            b.ok(p, &set(d, BOOL | TRIGGER, index, (0, 1), &[1]))?;
            b.ok(p, &set(d, BOOL | TRIGGER, index, (0, 1), &[0]))?;
            counts(b, p, &[(e, 2), (e, 0)])?;
            b.ok(p, &triggers(d, index, 0, &[Fd(-1)]))?;
            b.ok(p, &act(d, TRIGGER, index))?;
            b.ok(p, &disable(d, index))?;
        }
        Ok(())
    }),
    row("irqs/latched", "an eventfd keeps a signal while no process holds it", EDU, |b| {
        let (p, d, [e]) = begin(b, Device::Edu)?;
        b.ok(p, &triggers(d, MSI, 0, &[e]))?;
        let q = b.process();
        let [d2, e2] = b.pass(p, q, &[d, e])?[..] else { unreachable!("two were sent") };
        b.kill(p);
        b.ok(q, &act(d2, TRIGGER, MSI))?;
        b.ok(q, &triggers(d2, MSI, 0, &[e2]))?;
        b.ok(q, &act(d2, TRIGGER, MSI))?;
        counts(b, q, &[(e2, 2)])
    }),
    row(
        "irqs/closed-trigger",
        "the device holds its trigger after its descriptor is closed",
        EDU,
        |b| {
            let (p, d, [e]) = begin(b, Device::Edu)?;
            b.ok(p, &triggers(d, MSI, 0, &[e]))?;
            b.ok(p, &Call::File(FileCall::Close { fd: e }))?;
            b.ok(p, &act(d, TRIGGER, MSI))?;
            b.ok(p, &disable(d, MSI)).map(drop)
        },
    ),
    row("irqs/intx-mask", "INTx can be masked only while it is enabled", EDU, |b| {
        let (p, d, [e, u, v]) = begin(b, Device::Edu)?;
        b.all_refused(
            p,
            &[(act(d, MASK, INTX), Errno::EINVAL), (act(d, UNMASK, INTX), Errno::EINVAL)],
        )?;
        b.ok(p, &triggers(d, INTX, 0, &[e]))?;
        for call in [
            act(d, MASK, INTX),
            act(d, UNMASK, INTX),
            set(d, BOOL | MASK, INTX, (0, 1), &[1]),
            set(d, BOOL | UNMASK, INTX, (0, 1), &[0]),
            set(d, BOOL | UNMASK, INTX, (0, 1), &[1]),
            set(d, EVENTFD | UNMASK, INTX, (0, 1), &(-1i32).to_ne_bytes()),
            set(d, EVENTFD | UNMASK, INTX, (0, 1), &u.0.to_ne_bytes()),
        ] {
            b.ok(p, &call)?;
        }
        b.all_refused(
            p,
            &[
                (set(d, NONE | MASK, INTX, (0, 0), &[]), Errno::EINVAL),
                (set(d, EVENTFD | MASK, INTX, (0, 1), &u.0.to_ne_bytes()), Errno::ENOTTY),
                (set(d, EVENTFD | UNMASK, INTX, (0, 1), &v.0.to_ne_bytes()), Errno::EBUSY),
                (set(d, EVENTFD | UNMASK, INTX, (0, 1), &BAD.0.to_ne_bytes()), Errno::EBADF),
                (set(d, EVENTFD | UNMASK, INTX, (0, 1), &d.0.to_ne_bytes()), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &Call::File(FileCall::WriteEvent { fd: u, count: 3 }))?;
        counts(b, p, &[(u, 0)])?;
        b.ok(p, &set(d, EVENTFD | UNMASK, INTX, (0, 1), &(-1i32).to_ne_bytes()))?;
        b.ok(p, &Call::File(FileCall::WriteEvent { fd: u, count: 3 }))?;
        counts(b, p, &[(u, 3)])
    }),
    row(
        "irqs/intx-unmask-closed",
        "the last close of an unmask eventfd frees its slot",
        EDU,
        |b| {
            let (p, d, [e, u, v]) = begin(b, Device::Edu)?;
            b.ok(p, &triggers(d, INTX, 0, &[e]))?;
            b.ok(p, &set(d, EVENTFD | UNMASK, INTX, (0, 1), &u.0.to_ne_bytes()))?;
            b.ok(p, &Call::File(FileCall::Close { fd: u }))?;
            b.ok(p, &set(d, EVENTFD | UNMASK, INTX, (0, 1), &v.0.to_ne_bytes())).map(drop)
        },
    ),
    row("irqs/request", "the request notifier can be set, fired and removed", EDU, |b| {
        let (p, d, [e]) = begin(b, Device::Edu)?;
        b.all_refused(
            p,
            &[
                (disable(d, REQUEST), Errno::EINVAL),
                (act(d, TRIGGER, REQUEST), Errno::EINVAL),
                (set(d, BOOL | TRIGGER, REQUEST, (0, 0), &[]), Errno::EINVAL),
                (triggers(d, REQUEST, 0, &[]), Errno::EINVAL),
                (triggers(d, REQUEST, 0, &[Fd(-2)]), Errno::EINVAL),
                (triggers(d, REQUEST, 0, &[BAD]), Errno::EBADF),
                (triggers(d, REQUEST, 0, &[d]), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &set(d, BOOL | TRIGGER, REQUEST, (0, 1), &[1]))?;
        b.ok(p, &triggers(d, REQUEST, 0, &[e]))?;
        b.ok(p, &act(d, TRIGGER, REQUEST))?;
        b.ok(p, &set(d, BOOL | TRIGGER, REQUEST, (0, 1), &[1]))?;
        counts(b, p, &[(e, 2)])?;
        b.ok(p, &triggers(d, REQUEST, 0, &[Fd(-1)]))?;
        b.refuses(p, &disable(d, REQUEST), Errno::EINVAL)
    }),
    row("irqs/error", "7.3 has an error notifier for every PCI device", EDU, |b| {
        let (p, d, [e]) = begin(b, Device::Edu)?;
        b.ok(p, &triggers(d, ERROR, 0, &[e]))?;
        b.ok(p, &act(d, TRIGGER, ERROR))?;
        counts(b, p, &[(e, 1)])?;
        b.ok(p, &disable(d, ERROR)).map(drop)
    }),
    row(
        "irqs/block",
        "if one vector fails, it and those before it lose their triggers",
        MANY,
        |b| {
            let (p, d, [e, f, g]) = begin(b, Device::Many)?;
            let all = set(d, NONE | TRIGGER, MSI, (0, 3), &[]);
            b.ok(p, &triggers(d, MSI, 0, &[e, f, g]))?;
            b.ok(p, &all)?;
            counts(b, p, &[(e, 1), (f, 1), (g, 1)])?;
            b.refuses(p, &triggers(d, MSI, 0, &[f, BAD]), Errno::EBADF)?;
            b.ok(p, &all)?;
            counts(b, p, &[(e, 0), (f, 0), (g, 1)])?;
            b.ok(p, &triggers(d, MSI, 3, &[Fd(-1)]))?;
            b.refuses(p, &triggers(d, MSI, 3, &[e]), Errno::EINVAL)
        },
    ),
    row("irqs/msix-grows", "MSI-X adds vectors on demand", MANY, |b| {
        let (p, d, [e, f]) = begin(b, Device::Many)?;
        b.ok(p, &triggers(d, MSIX, 0, &[e]))?;
        b.ok(p, &triggers(d, MSIX, 3, &[f]))?;
        b.ok(p, &set(d, BOOL | TRIGGER, MSIX, (0, 4), &[0, 1, 1, 1]))?;
        counts(b, p, &[(e, 0), (f, 1)])
    }),
    row("irqs/mtty", "mtty has one vector, and ignores a missing action", MTTY, |b| {
        let (p, d, [e, f]) = begin(b, Device::Mtty)?;
        for index in [INTX, MSI] {
            b.all_refused(
                p,
                &[
                    (act(d, TRIGGER, index), Errno::EINVAL),
                    (triggers(d, index, 0, &[e, f]), Errno::EINVAL),
                    (triggers(d, index, 0, &[BAD]), Errno::EBADF),
                ],
            )?;
            b.ok(p, &act(d, 0, index))?;
            b.ok(p, &triggers(d, index, 0, &[e]))?;
            b.refuses(p, &triggers(d, 1 - index, 0, &[f]), Errno::EINVAL)?;
            b.ok(p, &act(d, TRIGGER, index))?;
            b.ok(p, &set(d, BOOL | TRIGGER, index, (0, 1), &[1]))?;
            // The first signal masks INTx.
            counts(b, p, &[(e, if index == INTX { 1 } else { 2 })])?;
            b.ok(p, &triggers(d, index, 0, &[f]))?;
            b.refuses(p, &triggers(d, index, 0, &[d]), Errno::EINVAL)?;
            b.refuses(p, &act(d, TRIGGER, index), Errno::EINVAL)?;
        }
        b.all_refused(
            p,
            &[
                (act(d, TRIGGER, MSIX), Errno::ENOTTY),
                (act(d, TRIGGER, REQUEST), Errno::ENOTTY),
                (act(d, MASK, MSI), Errno::ENOTTY),
                (act(d, MASK, INTX), Errno::EINVAL),
            ],
        )
    }),
    row("irqs/mtty-mask", "mtty masks INTx by call, but not by eventfd", MTTY, |b| {
        let (p, d, [e]) = begin(b, Device::Mtty)?;
        b.ok(p, &triggers(d, INTX, 0, &[e]))?;
        b.refuses(p, &set(d, EVENTFD | MASK, INTX, (0, 1), &e.0.to_ne_bytes()), Errno::ENOTTY)?;
        b.ok(p, &act(d, MASK, INTX))?;
        b.ok(p, &act(d, TRIGGER, INTX))?;
        b.ok(p, &set(d, BOOL | UNMASK, INTX, (0, 1), &[0]))?;
        b.ok(p, &set(d, BOOL | UNMASK, INTX, (0, 1), &[1]))?;
        b.ok(p, &act(d, TRIGGER, INTX))?;
        counts(b, p, &[(e, 1)])?;
        b.ok(p, &disable(d, INTX)).map(drop)
    }),
];
