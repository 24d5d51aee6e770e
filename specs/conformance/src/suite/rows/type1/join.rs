//! Groups that join a container with mappings.

use super::{BEYOND, IOVA, MSI_WINDOW, awaited, map};
use crate::suite::rows::group::{Legacy, V2, join, open_group, ready};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, FileCall};
use handoff_model::abi::errno::Errno;

const BOTH: &[Capability] =
    &[Capability::Type1, Capability::Has(Device::Edu), Capability::Has(Device::Mtty)];
const OF_6_2: &[Capability] = &[
    Capability::Type1,
    Capability::Has(Device::Edu),
    Capability::Has(Device::Mtty),
    Capability::Release("6.2"),
];
const WAITS: &[Capability] = &[
    Capability::Type1,
    Capability::Release("6.2"),
    Capability::Simulated("on a host the call waits until its process is killed"),
];

pub(crate) const ROWS: &[Fact] = &[
    row("type1/nobody-waits", "a joining group never waits for addresses", BOTH, |b| {
        let p = b.process();
        let (Legacy { container, .. }, group) = awaited(b, p)?;
        b.ok(p, &join(group, container)).map(drop)
    }),
    row("type1/waits", "before 6.3 a join waits for invalidated addresses", WAITS, |b| {
        let p = b.process();
        let (Legacy { container, .. }, group) = awaited(b, p)?;
        b.refuses(p, &join(group, container), Errno::EINTR)
    }),
    row(
        "type1/joined-for-the-dead",
        "before 6.3 a join fails with ESRCH if a mapping's owner has exited",
        OF_6_2,
        |b| {
            let p = b.process();
            let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
            let va = b.mmap(p, None, 1)?;
            b.ok(p, &map(container, va.0, IOVA, 1))?;
            let child = b.fork(p);
            b.kill(p);
            let group = open_group(b, child, Device::Edu)?;
            b.refuses(child, &join(group, container), Errno::ESRCH)
        },
    ),
    row("type1/joined-late", "a join fails if a mapping cannot be translated", BOTH, |b| {
        let p = b.process();
        let va = b.mmap(p, None, 1)?.0;
        for (iova, errno) in [(MSI_WINDOW, Errno::EINVAL), (BEYOND, Errno::ERANGE)] {
            let Legacy { container, group: mdev } = ready(b, p, Device::Mtty, V2)?;
            b.ok(p, &map(container, va, iova, 1))?;
            let group = open_group(b, p, Device::Edu)?;
            b.refuses(p, &join(group, container), errno)?;
            for fd in [group, mdev, container] {
                b.ok(p, &Call::File(FileCall::Close { fd }))?;
            }
        }
        Ok(())
    }),
    row(
        "type1/joined-again",
        "a later join fails with EINVAL beyond a known aperture",
        BOTH,
        |b| {
            let p = b.process();
            let va = b.mmap(p, None, 1)?.0;
            let Legacy { container, .. } = ready(b, p, Device::Mtty, V2)?;
            let group = open_group(b, p, Device::Edu)?;
            b.ok(p, &join(group, container))?;
            b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
            b.ok(p, &map(container, va, BEYOND, 1))?;
            let group = open_group(b, p, Device::Edu)?;
            b.refuses(p, &join(group, container), Errno::EINVAL)
        },
    ),
];
