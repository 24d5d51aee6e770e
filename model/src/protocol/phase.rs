//! The phases of both roles.
//!
//! A phase is a list of calls with one purpose. The [table](super) defines which phase follows and
//! which phase undoes it after a failure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Defines an enum whose variants have a name and a sentence. Those under `lab` exist only with
/// that feature; no table of [`safe`](super::safe) uses them.
macro_rules! named {
    (
        $(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])* $phase:ident,)* }
        $(lab { $($(#[doc = $lab_text:literal])* $lab:ident,)* })?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[doc = $text])* $phase,)*
            $($(#[cfg(feature = "lab")] $(#[doc = $lab_text])* $lab,)*)?
        }

        impl $name {
            /// All variants, in the order of their definition.
            pub const ALL: &[Self] = &[
                $(Self::$phase,)*
                $($(#[cfg(feature = "lab")] Self::$lab,)*)?
            ];

            /// Returns the purpose in one sentence.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$phase => concat!($($text),*).trim_ascii(),)*
                    $($(
                        #[cfg(feature = "lab")]
                        Self::$lab => concat!($($lab_text),*).trim_ascii(),
                    )*)?
                }
            }

            $(
                /// Returns true if only protocols other than `safe` have it.
                #[cfg(feature = "lab")]
                pub(crate) fn is_foreign(self) -> bool {
                    matches!(self, $(Self::$lab)|*)
                }
            )?
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

pub(crate) use named;

named! {
    /// The phases of the old process.
    OutPhase {
        /// Check every precondition of this side, without side effects.
        Preflight,
        /// Send an offer: the requirements for taking over.
        Offer,
        /// Wait until the new process is ready to take over.
        AwaitReady,
        /// Stop the guest.
        Stop,
        /// Deassign the irqfds: from here on interrupts wait in their eventfds.
        Park,
        /// Save vCPUs and emulated devices.
        Save,
        /// Take the snapshot: write the inventory into the stream.
        Snapshot,
        /// Send every descriptor exactly once.
        SendFds,
        /// Early variant: wait until the new process has adopted the snapshot.
        AwaitAdopted,
        /// Early variant: confirm that the snapshot is still up to date now that the guest is
        /// stopped.
        Confirm,
        /// Wait until the new process has prepared the takeover.
        AwaitPrepared,
        /// Allow the new process to change shared objects.
        Commit,
        /// Wait for the point of no return.
        AwaitCommitted,
        /// Release everything and exit: this process no longer owns the guest.
        Release,
        /// Make descriptors inheritable.
        OpenWindow,
        /// Execute the new program.
        Exec,
        /// Make it impossible for the new process to commit from now on.
        Revoke,
        /// Check whether the new process committed before.
        Drain,
        /// Ask the new process to exit, and kill it.
        TerminatePeer,
        /// Wait until the new process has exited.
        AwaitGone,
        /// Reclaim the ownership of every page set.
        ReclaimOwnership,
        /// Make descriptors non-inheritable again.
        CloseWindow,
        /// Reassign the irqfds: waiting interrupts are injected into the guest.
        Unpark,
        /// Resume the guest.
        Resume,
        /// Close the channel.
        Disconnect,
        /// Terminated.
        End,
    }
    lab {
        /// Take the ownership to find out whether every mapping can change its process.
        ProveOwnership,
        /// Invalidate the address of every mapping of a container.
        ReleaseVaddr,
        /// Restore the invalidated addresses, one mapping at a time.
        RestoreVaddr,
        /// Restore the invalidated addresses by whole memory sections, regardless of their
        /// mappings.
        RestoreWhole,
        /// Abort if any address was invalidated.
        AbortRestoring,
        /// Close KVM's virtual machine, and with it the guest.
        CloseVm,
        /// Report success, and keep everything.
        Completed,
        /// Abort with a failed assertion.
        Abort,
    }
}

named! {
    /// The phases of the new process.
    InPhase {
        /// Wait for an offer.
        AwaitOffer,
        /// Check every precondition of this side, without side effects.
        Check,
        /// Report that this process is ready to take over.
        Ready,
        /// Receive every descriptor.
        AwaitDescriptors,
        /// Read and check the stream.
        ReadStream,
        /// Make descriptors non-inheritable again.
        CloseWindow,
        /// Compare the inventory with the kernel's state without changing anything.
        Verify,
        /// Map guest RAM.
        MapRam,
        /// Create a virtual machine in KVM.
        MakeVm,
        /// Early variant: report that the snapshot is adopted.
        Adopted,
        /// Early variant: wait until the old process confirms the snapshot, now that the guest is
        /// stopped.
        AwaitConfirm,
        /// Load the stopped guest from its saved state.
        Load,
        /// Report that the takeover is prepared.
        Prepared,
        /// Wait for the permission to change shared objects.
        AwaitCommit,
        /// Take the ownership of every page set.
        ChangeOwner,
        /// Pass the point of no return: from here on the guest belongs to this process.
        Committed,
        /// In doubt, because the commit could not be sent: find out whether the old process lives.
        ResolveInDoubt,
        /// Assign the irqfds: waiting interrupts are injected into the guest.
        AssignIrqfds,
        /// Start the guest.
        Run,
        /// Close the descriptors that only the handoff needed.
        Cleanup,
        /// Send the old process the reason for a refusal.
        Refuse,
        /// Exit, which closes everything that was received.
        Leave,
        /// Make descriptors inheritable for the fallback.
        OpenWindow,
        /// Execute the old program again.
        Fallback,
        /// Terminated.
        End,
    }
    lab {
        /// Take the ownership as a probe, long before the commit.
        ProbeByChange,
        /// Take the ownership, and pass the new address of each RAM block.
        TakeAddresses,
        /// Pass the address in this process for every mapping of a container, one mapping at a
        /// time.
        MapVaddr,
        /// Pass the addresses for the first container only.
        MapVaddrOfFirst,
        /// Close every container but the first, as if each were a second descriptor of the first.
        MergeContainers,
        /// Map all RAM a second time.
        MapAgain,
        /// Map all RAM, as for a fresh guest.
        MapFresh,
        /// Unmap all RAM and map it again.
        Remap,
        /// Attach every device to the first address space.
        AttachToFirst,
        /// Detach the devices while setting them up.
        ResetDevices,
        /// Set O_NONBLOCK on everything that was received, which also affects other holders.
        SetNonblocking,
        /// Drain the eventfds while setting interrupts up.
        DrainEvents,
        /// Clear guest RAM, as for a fresh guest.
        WipeRam,
        /// Unwind after a failure by detaching and destroying.
        Unwind,
    }
}

/// A phase of either role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolePhase {
    /// A phase of the old process.
    Old(OutPhase),
    /// A phase of the new process.
    New(InPhase),
}

impl From<OutPhase> for RolePhase {
    fn from(phase: OutPhase) -> Self {
        Self::Old(phase)
    }
}

impl From<InPhase> for RolePhase {
    fn from(phase: InPhase) -> Self {
        Self::New(phase)
    }
}

impl fmt::Display for RolePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(phase) => write!(f, "old {phase}"),
            Self::New(phase) => write!(f, "new {phase}"),
        }
    }
}
