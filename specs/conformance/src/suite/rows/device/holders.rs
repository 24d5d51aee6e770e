//! Holders of a bound device file: duplicates, other processes, programs after an exec.

use super::{EDU, begin};
use crate::suite::fixture::Setup;
use crate::suite::{Fact, row};
use crate::target::Device;
use handoff_model::abi::call::{Call, DeviceCall, FileCall};
use handoff_model::abi::errno::Errno;

pub(crate) const ROWS: &[Fact] = &[
    row("device/shared", "every holder of the bound file can use the device", EDU, |b| {
        let p = b.process();
        let Setup { device, .. } = b.set_up(p, 1)?;
        let copy = b.fd(p, &Call::File(FileCall::Dup { fd: device }))?;
        let q = b.process();
        let [passed] = b.pass(p, q, &[device])?[..] else { unreachable!("one was sent") };
        b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
        b.ok(p, &Call::Device(DeviceCall::Info { device: copy }))?;
        b.ok(q, &Call::Device(DeviceCall::Info { device: passed }))?;
        b.kill(p);
        b.ok(q, &Call::Device(DeviceCall::Info { device: passed }))?;
        let context = b.iommufd(q)?;
        let again = b.open(q, Device::Edu)?;
        let bind = Call::Device(DeviceCall::Bind { device: again, iommufd: context });
        b.refuses(q, &bind, Errno::EINVAL)?;
        b.ok(q, &Call::File(FileCall::Close { fd: passed }))?;
        b.ok(q, &bind).map(drop)
    }),
    row("device/exec", "exec closes a CLOEXEC device and keeps an inherited one", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        b.ok(p, &Call::File(FileCall::SetCloexec { fd: d, on: false }))?;
        b.exec(p);
        b.ok(p, &Call::Device(DeviceCall::Info { device: d }))?;
        b.ok(p, &Call::File(FileCall::SetCloexec { fd: d, on: true }))?;
        b.exec(p);
        b.refuses(p, &Call::Device(DeviceCall::Info { device: d }), Errno::EBADF)?;
        let iommufd = b.iommufd(p)?;
        b.bind(p, Device::Edu, iommufd).map(drop)
    }),
];
