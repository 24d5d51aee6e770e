//! The adopted state, and its comparison with the kernel's state.

use super::script::Script;
use super::{IncomingTransport, Plan};
use crate::abi::call::{Call, CallResult, DeviceCall, FileCall, IommufdCall, Reply};
use crate::abi::errno::Errno;
use crate::abi::ids::Fd;
use crate::protocol::checks::Check;
use crate::protocol::mutation::Mutations;
use crate::protocol::phase::InPhase;
use crate::role::StepError;
use crate::stream::{InvalidState, State};
use crate::vm::blocker::Blocker;
use crate::vm::{Descriptors, Device, Key, Kind, Vm};

/// The received state with this process's descriptors.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Adopted {
    pub(super) vm: Vm,
    /// This process's descriptors of it.
    pub(super) descriptors: Descriptors,
    /// The calls of each phase that needs the inventory, in the order of [`InPhase::ALL`]; empty
    /// for a phase that the table does not name.
    pub(super) calls: Vec<Vec<Call>>,
}

impl Adopted {
    pub(super) fn of(
        state: State,
        arrived: Option<&[Fd]>,
        origin: IncomingTransport,
        plan: &Plan,
    ) -> Result<Self, InvalidState> {
        let descriptors = state.adopt_mutated(&plan.omitted, arrived)?;
        let script = Script { vm: &state.vm, descriptors: &descriptors, origin };
        let named = |phase: &InPhase| plan.table.names(*phase);
        let made = |phase: &InPhase| plan.omitted.remaining_calls(*phase, script.calls(*phase));
        let calls = |phase| if named(phase) { made(phase) } else { Vec::new() };
        let calls = InPhase::ALL.iter().map(calls).collect();
        Ok(Self { descriptors, calls, vm: state.vm })
    }

    /// Returns the inventory's name for a descriptor; empty if it has none.
    fn name_of(&self, fd: Fd) -> String {
        let key = self.descriptors.iter().find(|(_, other)| *other == fd).map(|(key, _)| key);
        key.map(|key| key.name.clone()).unwrap_or_default()
    }

    fn device(&self, device: Fd) -> Option<&Device> {
        let key = |device: &&Device| Key::new(Kind::Device, &device.name, 0);
        self.vm.devices.iter().find(|d| self.descriptors.get(&key(d)) == Some(device))
    }

    /// Checks that the kernel's answer is the one that the inventory implies. For a probe, that is
    /// an errno.
    pub(super) fn verify(
        &self,
        call: &Call,
        answer: &CallResult,
        omitted: &Mutations,
    ) -> Result<(), StepError> {
        match (call, answer) {
            (
                Call::Iommufd(IommufdCall::ChangeProcess { .. } | IommufdCall::ProbeNesting { .. }),
                Err(Errno::EOPNOTSUPP),
            )
            | (Call::Iommufd(IommufdCall::IoasCopy { .. }), Err(Errno::EEXIST))
            | (
                Call::Iommufd(IommufdCall::ProbeHwpt { .. }),
                Err(Errno::EINVAL | Errno::EOPNOTSUPP),
            )
            | (
                Call::Iommufd(IommufdCall::GetHwInfo { .. } | IommufdCall::IoasIovaRanges { .. }),
                Ok(_),
            ) => Ok(()),
            (_, Err(errno)) => match self.absent(call, *errno) {
                Some((check, error)) => omitted.require(check, false, || error),
                None => Err(StepError::call(call, *errno)),
            },
            (_, Ok(reply)) => self.verify_reply(call, reply, omitted),
        }
    }

    /// Returns the check that fails, and its error, if the errno means that the kernel lacks the
    /// object.
    fn absent(&self, call: &Call, errno: Errno) -> Option<(Check, StepError)> {
        Some(match (call, errno) {
            (Call::Iommufd(IommufdCall::ChangeProcess { iommufd, .. }), Errno::ENOTTY) => {
                let blocker = Blocker::KernelTooOld(self.name_of(*iommufd));
                (Check::CanChangeProcess, StepError::Blocked(vec![blocker]))
            }
            (Call::Iommufd(IommufdCall::IoasCopy { source, source_iova, .. }), Errno::ENOENT) => {
                let what = format!("IOAS {source} at {source_iova}");
                (Check::Mapped, StepError::mismatch(what, "a mapping", "no such mapping"))
            }
            (Call::Iommufd(IommufdCall::ProbeHwpt { hwpt, .. }), Errno::ENOENT) => {
                (Check::HwptThere, StepError::mismatch("HWPT", hwpt, "no such object"))
            }
            (Call::Iommufd(IommufdCall::ProbeNesting { hwpt, .. }), Errno::EINVAL) => {
                let what = format!("HWPT {hwpt}");
                (Check::NestParent, StepError::mismatch(what, "a nesting parent", "none"))
            }
            (Call::Iommufd(IommufdCall::GetHwInfo { device, .. }), Errno::ENOENT) => {
                let has = "no device bound under that id";
                (Check::Bound, StepError::mismatch("device", device, has))
            }
            (Call::Iommufd(IommufdCall::IoasIovaRanges { ioas, .. }), Errno::ENOENT) => {
                (Check::SpaceThere, StepError::mismatch("IOAS", ioas, "no such object"))
            }
            _ => return None,
        })
    }

    fn verify_reply(
        &self,
        call: &Call,
        reply: &Reply,
        omitted: &Mutations,
    ) -> Result<(), StepError> {
        match (call, reply) {
            (
                Call::Device(DeviceCall::Info { device }),
                Reply::DeviceInfo { flags, regions, irqs },
            ) => {
                let said = self.device(*device).map(|device| device.info);
                let part = |of: fn((u32, u32, u32)) -> u32| said.map(of);
                same(omitted, Check::DeviceFlags, "device info, flags", part(|i| i.0), *flags)?;
                same(
                    omitted,
                    Check::DeviceRegions,
                    "device info, regions",
                    part(|i| i.1),
                    *regions,
                )?;
                same(omitted, Check::DeviceIrqs, "device info, interrupts", part(|i| i.2), *irqs)
            }
            (Call::Device(DeviceCall::IrqInfo { device, index }), Reply::IrqInfo { count, .. }) => {
                let armed = self.device(*device).map_or(&[][..], |device| &device.interrupts);
                let needs = armed.iter().find(|i| i.index == *index).map_or(0, |i| i.vectors);
                let what = || format!("vectors of interrupt index {index}");
                let fewer = || StepError::mismatch(what(), needs, count);
                omitted.require(Check::Vectors, u32::from(needs) <= *count, fewer)
            }
            (Call::File(FileCall::Stat { fd }), Reply::Stat { inode, length_bytes }) => {
                self.verify_file(*fd, *inode, *length_bytes, omitted)
            }
            _ => Err(StepError::Unexpected(format!("{} succeeded", call.name()))),
        }
    }

    fn verify_file(
        &self,
        fd: Fd,
        inode: u64,
        length_bytes: u64,
        omitted: &Mutations,
    ) -> Result<(), StepError> {
        let is_its = |name: &str| self.descriptors.get(&Key::new(Kind::Ram, name, 0)) == Some(fd);
        if let Some(block) = self.vm.ram.iter().find(|block| is_its(&block.name)) {
            same(omitted, Check::RamInode, "inode of a RAM file", Some(block.inode), inode)?;
            let said = Some(block.length_bytes);
            return same(omitted, Check::RamLength, "length of a RAM file", said, length_bytes);
        }
        let said = self.device(fd).map(|device| device.inode);
        same(omitted, Check::DeviceInode, "inode of a device node", said, inode)
    }
}

/// Fails the check if the inventory has a value and the kernel's differs.
fn same<T>(
    omitted: &Mutations,
    check: Check,
    what: &str,
    said: Option<T>,
    has: T,
) -> Result<(), StepError>
where
    T: PartialEq + std::fmt::Debug + Copy,
{
    let Some(said) = said.filter(|said| *said != has) else { return Ok(()) };
    let differs = || StepError::mismatch(what, format!("{said:?}"), format!("{has:?}"));
    omitted.require(check, false, differs)
}
