//! The state as the new process holds it, and whether the kernel has what it says.

use super::Origin;
use super::script::Script;
use crate::blocker::Blocker;
use crate::call::{Answer, Call, Reply};
use crate::errno::Errno;
use crate::ids::{Fd, IovaRange, ObjectId};
use crate::phase::InPhase;
use crate::role::Trouble;
use crate::stream::{Flaw, State};
use crate::vm::{Descriptors, Device, Key, Kind, Vm};

/// The state, as this process holds it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Adopted {
    pub(super) vm: Vm,
    /// This process's descriptors of it.
    pub(super) descriptors: Descriptors,
    /// For each phase that needs the inventory, its calls, in the order of [`InPhase::ALL`].
    pub(super) calls: Vec<Vec<Call>>,
}

impl Adopted {
    pub(super) fn of(state: State, arrived: Option<&[Fd]>, origin: Origin) -> Result<Self, Flaw> {
        let descriptors = state.adopt(arrived)?;
        let script = Script { vm: &state.vm, descriptors: &descriptors, origin };
        let calls = InPhase::ALL.iter().map(|phase| script.calls(*phase)).collect();
        Ok(Self { descriptors, calls, vm: state.vm })
    }

    /// What the inventory calls a descriptor.
    fn name_of(&self, fd: Fd) -> String {
        let key = self.descriptors.iter().find(|(_, other)| *other == fd).map(|(key, _)| key);
        key.map(|key| key.name.clone()).unwrap_or_default()
    }

    fn device(&self, device: Fd) -> Option<&Device> {
        let key = |device: &&Device| Key::new(Kind::Device, &device.name, 0);
        self.vm.devices.iter().find(|d| self.descriptors.get(&key(d)) == Some(device))
    }

    /// Whether the kernel's answer is the one that the inventory promises.
    pub(super) fn verify(&self, call: &Call, answer: &Answer) -> Result<(), Trouble> {
        match (call, answer) {
            (Call::ChangeProcess { .. }, Err(Errno::EOPNOTSUPP))
            | (Call::IoasCopy { .. }, Err(Errno::EEXIST))
            | (Call::ProbeHwpt { .. }, Err(Errno::EINVAL | Errno::EOPNOTSUPP))
            | (Call::GetHwInfo { .. }, Ok(_)) => Ok(()),
            (Call::ChangeProcess { iommufd, .. }, Err(Errno::ENOTTY)) => {
                Err(Trouble::Blocked(vec![Blocker::KernelTooOld(self.name_of(*iommufd))]))
            }
            (Call::IoasCopy { source, source_iova, .. }, Err(Errno::ENOENT)) => {
                Err(Trouble::mismatch(
                    format!("IOAS {source} at {source_iova}"),
                    "mapped",
                    "no such mapping",
                ))
            }
            (Call::ProbeHwpt { hwpt, .. }, Err(Errno::ENOENT)) => {
                Err(Trouble::mismatch("HWPT", hwpt, "no such object"))
            }
            (Call::GetHwInfo { device, .. }, Err(Errno::ENOENT)) => {
                Err(Trouble::mismatch("device", device, "no device bound under that id"))
            }
            (Call::IoasIovaRanges { ioas, .. }, Err(Errno::ENOENT)) => {
                Err(Trouble::mismatch("IOAS", ioas, "no such object"))
            }
            (_, Err(errno)) => Err(Trouble::call(call, *errno)),
            (_, Ok(reply)) => self.verify_reply(call, reply),
        }
    }

    fn verify_reply(&self, call: &Call, reply: &Reply) -> Result<(), Trouble> {
        match (call, reply) {
            (Call::IoasIovaRanges { ioas, .. }, Reply::IovaRanges { ranges, .. }) => {
                self.verify_ranges(*ioas, ranges)
            }
            (Call::DeviceInfo { device }, Reply::DeviceInfo { flags, regions, irqs }) => {
                let said = self.device(*device).map(|device| device.info);
                same("device info", said, (*flags, *regions, *irqs))
            }
            (Call::IrqInfo { device, index }, Reply::IrqInfo { count, .. }) => {
                let armed = self.device(*device).map_or(&[][..], |device| &device.interrupts);
                let needs = armed.iter().find(|i| i.index == *index).map_or(0, |i| i.vectors);
                let enough = u32::from(needs) <= *count;
                let what = format!("vectors of interrupt index {index}");
                if enough { Ok(()) } else { Err(Trouble::mismatch(what, needs, count)) }
            }
            (Call::Stat { fd }, Reply::Stat { inode, length_bytes }) => {
                self.verify_file(*fd, *inode, *length_bytes)
            }
            _ => Err(Trouble::Unexpected(format!("{} succeeded", call.name()))),
        }
    }

    /// Every mapping lies in a range that the kernel calls usable.
    fn verify_ranges(&self, ioas: ObjectId, usable: &[IovaRange]) -> Result<(), Trouble> {
        let mut mapped =
            self.vm.mappings().filter(|(_, id, _)| *id == ioas).filter_map(|m| m.2.range());
        match mapped.find(|range| !usable.iter().any(|usable| usable.contains(range))) {
            None => Ok(()),
            Some(range) => {
                Err(Trouble::mismatch(format!("IOVA range {range}"), "mapped", "not usable"))
            }
        }
    }

    fn verify_file(&self, fd: Fd, inode: u64, length_bytes: u64) -> Result<(), Trouble> {
        for block in &self.vm.ram {
            if self.descriptors.get(&Key::new(Kind::Ram, &block.name, 0)) == Some(fd) {
                let said = Some((block.inode, block.length_bytes));
                return same("RAM file (inode, length)", said, (inode, length_bytes));
            }
        }
        same("device node", self.device(fd).map(|device| device.inode), inode)
    }
}

/// The kernel has what the inventory says, or the inventory says nothing.
fn same<T>(what: &str, said: Option<T>, has: T) -> Result<(), Trouble>
where
    T: PartialEq + std::fmt::Debug + Copy,
{
    let differs = said.filter(|said| *said != has);
    differs.map_or(Ok(()), |said| {
        Err(Trouble::mismatch(what, format!("{said:?}"), format!("{has:?}")))
    })
}
