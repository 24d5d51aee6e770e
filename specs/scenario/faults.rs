//! The faults that the environment may inject: how many in a run, and the errnos of failed calls.

use handoff_model::abi::call::{
    Call, ContainerCall, FileCall, GuestCall, IommufdCall, ProcessCall, SocketCall,
};
use handoff_model::abi::errno::Errno;
use serde::{Deserialize, Serialize};

/// What the environment may do, and how often in a run, and with which errnos it fails calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct May {
    /// Calls that fail with an errno of the environment's choice.
    pub fail_calls: u8,
    /// Processes that are killed.
    pub kill: u8,
    /// Somebody calls the handoff off.
    pub cancel: bool,
    /// Interrupts that each device raises.
    pub interrupts: u8,
    /// Steps of progress that the guest makes.
    pub guest_steps: u8,
}

impl May {
    /// No fault happens, no interrupt arrives, and the guest makes no progress.
    pub const NOTHING: Self =
        Self { fail_calls: 0, kill: 0, cancel: false, interrupts: 0, guest_steps: 0 };
}

impl Default for May {
    fn default() -> Self {
        Self { fail_calls: 1, kill: 1, cancel: true, interrupts: 1, guest_steps: 1 }
    }
}

/// The errnos with which a call may fail, one for each way on that the protocol knows.
///
/// Calls that Linux cannot refuse a process that holds what it holds are not failed; neither is
/// `close`, which always closes.
pub(crate) fn errnos(call: &Call) -> &'static [Errno] {
    match call {
        Call::File(
            FileCall::Close { .. } | FileCall::SetCloexec { .. } | FileCall::SetNonblock { .. },
        )
        | Call::Process(ProcessCall::Exit { .. } | ProcessCall::GetUid | ProcessCall::GetMemlock)
        | Call::Socket(SocketCall::ShutdownReceive { .. })
        | Call::Container(ContainerCall::CanUpdateVaddr { .. }) => &[],
        Call::Iommufd(IommufdCall::ChangeProcess { reserved: 0, .. }) => {
            &[Errno::ENOMEM, Errno::EBUSY]
        }
        Call::Iommufd(IommufdCall::ChangeProcess { .. }) => &[Errno::ENOTTY],
        Call::Container(ContainerCall::ForgetVaddrs { .. }) => &[Errno::EINVAL],
        Call::Process(ProcessCall::Kill { .. }) => &[Errno::EPERM],
        Call::Process(ProcessCall::AwaitExit { .. }) => &[Errno::EINTR],
        Call::Guest(
            GuestCall::Stop | GuestCall::Start | GuestCall::Save { .. } | GuestCall::Load { .. },
        ) => &[Errno::EIO],
        _ => &[Errno::ENOMEM],
    }
}
