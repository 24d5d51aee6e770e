//! The fault budget of a run, and the errnos with which calls can fail.

use handoff_model::abi::call::{
    Call, ContainerCall, DeviceCall, FileCall, GuestCall, IommufdCall, KvmCall, MemoryCall,
    ProcessCall, SocketCall,
};
use handoff_model::abi::errno::Errno;
use serde::{Deserialize, Serialize};

/// Upper bounds on the faults and events of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultBudget {
    /// Number of calls that fail.
    pub fail_calls: u8,
    /// Number of processes that are killed.
    pub kill: u8,
    /// True if the handoff can be cancelled.
    pub cancel: bool,
    /// Number of interrupts that each device raises.
    pub interrupts: u8,
    /// Number of steps of progress that the guest makes.
    pub guest_steps: u8,
}

impl FaultBudget {
    /// No fault happens, no interrupt arrives, and the guest makes no progress.
    pub const NOTHING: Self =
        Self { fail_calls: 0, kill: 0, cancel: false, interrupts: 0, guest_steps: 0 };
}

impl Default for FaultBudget {
    fn default() -> Self {
        Self { fail_calls: 1, kill: 1, cancel: true, interrupts: 1, guest_steps: 1 }
    }
}

/// No errno: the call does not fail.
const NONE: &[Errno] = &[];

/// `ENOMEM`, for a call whose errnos the protocol does not distinguish.
const NO_MEMORY: &[Errno] = &[Errno::ENOMEM];

/// Returns the errnos with which a call can fail, one for each reaction of the protocol.
///
/// A call that cannot fail in Linux with valid arguments is never failed, nor is `close`, which
/// releases the descriptor even if it reports an error.
pub(crate) fn errnos(call: &Call) -> &'static [Errno] {
    match call {
        Call::File(call) => of_file(call),
        Call::Memory(call) => match call {
            MemoryCall::Memfd { .. }
            | MemoryCall::Truncate { .. }
            | MemoryCall::SealSize { .. }
            | MemoryCall::AddSeals { .. }
            | MemoryCall::ReopenReadOnly { .. }
            | MemoryCall::PunchHole { .. }
            | MemoryCall::Mmap { .. }
            | MemoryCall::Munmap { .. } => NO_MEMORY,
        },
        Call::Process(call) => of_process(call),
        Call::Socket(call) => match call {
            SocketCall::ShutdownReceive { .. } => NONE,
            SocketCall::Send { .. }
            | SocketCall::Receive { .. }
            | SocketCall::ReceiveFew { .. } => NO_MEMORY,
        },
        Call::Guest(call) => match call {
            GuestCall::Stop
            | GuestCall::Start
            | GuestCall::Save { .. }
            | GuestCall::Load { .. } => &[Errno::EIO],
        },
        Call::Iommufd(call) => of_iommufd(call),
        Call::Device(call) => match call {
            DeviceCall::Bind { .. }
            | DeviceCall::Attach { .. }
            | DeviceCall::Detach { .. }
            | DeviceCall::Info { .. }
            | DeviceCall::RegionInfo { .. }
            | DeviceCall::IrqInfo { .. }
            | DeviceCall::SetIrqs { .. }
            | DeviceCall::Reset { .. } => NO_MEMORY,
        },
        Call::Container(call) => of_container(call),
        Call::Kvm(call) => match call {
            KvmCall::CreateVm { .. } | KvmCall::CreateIrqchip { .. } | KvmCall::Irqfd { .. } => {
                NO_MEMORY
            }
        },
        Call::Ioctl { .. } => NO_MEMORY,
    }
}

fn of_iommufd(call: &IommufdCall) -> &'static [Errno] {
    match call {
        IommufdCall::ChangeProcess { reserved: 0, .. } => &[Errno::ENOMEM, Errno::EBUSY],
        IommufdCall::ChangeProcess { .. } => &[Errno::ENOTTY],
        IommufdCall::Destroy { .. }
        | IommufdCall::IoasAlloc { .. }
        | IommufdCall::IoasIovaRanges { .. }
        | IommufdCall::IoasMap { .. }
        | IommufdCall::IoasMapFile { .. }
        | IommufdCall::IoasCopy { .. }
        | IommufdCall::IoasUnmap { .. }
        | IommufdCall::GetRlimitMode { .. }
        | IommufdCall::SetRlimitMode { .. }
        | IommufdCall::HwptAlloc { .. }
        | IommufdCall::ProbeHwpt { .. }
        | IommufdCall::ProbeNesting { .. }
        | IommufdCall::GetHwInfo { .. } => NO_MEMORY,
    }
}

fn of_file(call: &FileCall) -> &'static [Errno] {
    match call {
        FileCall::Close { .. } | FileCall::SetCloexec { .. } | FileCall::SetNonblock { .. } => NONE,
        FileCall::Open { .. }
        | FileCall::Dup { .. }
        | FileCall::Stat { .. }
        | FileCall::WriteAt { .. }
        | FileCall::ReadAt { .. }
        | FileCall::Eventfd
        | FileCall::ReadEvent { .. }
        | FileCall::WriteEvent { .. }
        | FileCall::Read { .. }
        | FileCall::Write { .. } => NO_MEMORY,
    }
}

fn of_process(call: &ProcessCall) -> &'static [Errno] {
    match call {
        ProcessCall::Exit { .. } | ProcessCall::GetUid | ProcessCall::GetMemlock => NONE,
        ProcessCall::Kill { .. } => &[Errno::EPERM],
        ProcessCall::AwaitExit { .. } => &[Errno::EINTR],
        ProcessCall::SetMemlock { .. }
        | ProcessCall::SetUid { .. }
        | ProcessCall::GetCapIpcLock
        | ProcessCall::DropCapIpcLock
        | ProcessCall::Exec { .. } => NO_MEMORY,
    }
}

fn of_container(call: &ContainerCall) -> &'static [Errno] {
    match call {
        ContainerCall::CanUpdateVaddr { .. } => NONE,
        ContainerCall::ForgetVaddrs { .. } => &[Errno::EINVAL],
        ContainerCall::SetContainer { .. }
        | ContainerCall::SetIommu { .. }
        | ContainerCall::GroupDevice { .. }
        | ContainerCall::MapDma { .. }
        | ContainerCall::GiveVaddr { .. } => NO_MEMORY,
    }
}
